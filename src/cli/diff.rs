//! `pgdumpd diff`

use std::path::Path;

use crate::error::Result;
use crate::model::backup::Manifest;
use crate::ops::diff::{self, Amount, Difference, Object, Side};
use crate::postgres::archive::name::shown;
use crate::process::Cancel;

use super::exit::Exit;
use super::{Common, given, out};

/// Say which objects came, went or changed between two backups or dump files, and how rows moved.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
+ came, - went, ~ changed. Objects are compared by kind, schema and name, and by their definition and
owner; rows by the counts taken during the dumps. The backups may be of different databases.

Exit code: 0 whether they differ or not; with --exit-code 1 where they differ.

Examples:
  pgdumpd diff k3f9q2abcd latest
  pgdumpd diff shop/shop@latest shop/staging@latest --exit-code
  pgdumpd diff ./before.dump ./after.sql.gz    files, whoever made them; no configuration is needed")]
pub(super) struct Args {
    /// The backup before: an id or its beginning, a file name, PROJECT@latest, PROJECT/DATABASE@latest, or latest; or a dump file's path
    #[arg(value_name = "BACKUP|FILE")]
    before: String,
    /// The backup after
    #[arg(value_name = "BACKUP|FILE")]
    after: String,
    /// End with 1 where they differ
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let whole = |path: &Path| given::whole(path, &Cancel::new());
    let (storage, before) = given::opened(common, &args.before, whole)?;
    let (other_storage, after) = given::opened(common, &args.after, whole)?;
    let one = Side { storage: storage.as_ref(), manifest: &before };
    let other = Side { storage: other_storage.as_ref(), manifest: &after };
    let difference = diff::diff(one, other)?;
    if common.json {
        let whole = serde_json::json!({ "before": before.backup_id, "after": after.backup_id, "difference": difference });
        out::json(&whole)?;
    } else {
        print(&before, &after, &difference);
    }
    Ok(if args.exit_code && !difference.is_none() { Exit::Failed } else { Exit::Done })
}

fn print(before: &Manifest, after: &Manifest, difference: &Difference) {
    for (sign, manifest) in [("-", before), ("+", after)] {
        let at = manifest.backup_timestamp.format("%Y-%m-%d %H:%M:%S UTC");
        let (id, database, selection) = (&manifest.backup_id, &manifest.database_name, &manifest.selection);
        out::say(if manifest.is_of_given_file() {
            format!("{sign} the file {id} of {database} ({selection}), {at}")
        } else {
            format!("{sign} {id} of {}/{database} ({selection}), {at}", manifest.project)
        });
    }
    difference.notes.iter().for_each(|note| out::say(format!("! {note}")));
    if difference.is_none() {
        out::say("no difference");
        return;
    }
    let groups = [("+", &difference.came), ("-", &difference.went), ("~", &difference.changed)];
    if groups.iter().any(|(_, objects)| !objects.is_empty()) {
        out::say("");
    }
    for (sign, objects) in groups {
        objects.iter().for_each(|object| out::say(format!("{sign} {}", line(object))));
    }
    if difference.tables.is_empty() {
        return;
    }
    out::say("");
    let mut table = out::table(&["TABLE", "ROWS BEFORE", "AFTER", "CHANGE", "BYTES"]);
    for moved in &difference.tables {
        let rows = |amount: Option<Amount>| match amount {
            None => String::from("-"),
            Some(Amount { rows: None, .. }) => String::from("?"),
            Some(Amount { rows: Some(rows), .. }) => rows.to_string(),
        };
        let known = |amount: Option<Amount>| amount.map_or(Some(0), |amount| amount.rows);
        let change = known(moved.before).zip(known(moved.after)).map_or_else(|| String::from("?"), |(one, other)| signed(one, other));
        let bytes = |amount: Option<Amount>| amount.map_or(0, |amount| amount.bytes);
        let bytes = signed(bytes(moved.before), bytes(moved.after));
        table.add_row(vec![shown(&moved.schema, &moved.name), rows(moved.before), rows(moved.after), change, bytes]);
    }
    out::show(&table);
}

fn line(object: &Object) -> String {
    let name = object.schema.as_ref().map_or_else(|| object.name.clone(), |schema| format!("{schema}.{}", object.name));
    let what = if object.what.is_empty() { String::new() } else { format!(" ({})", object.what.join(", ")) };
    format!("{} {name}{what}", object.kind)
}

fn signed(before: u64, after: u64) -> String {
    let change = i128::from(after) - i128::from(before);
    if change == 0 { String::from("0") } else { format!("{change:+}") }
}
