//! What a merge says where nothing comes of it. Pure.

use super::{Request, name};
use crate::error::{Cause, Failure};
use crate::postgres::merge::{Merge, Target};

pub(super) fn missing(request: &Request) -> Failure {
    Failure::new(Cause::NotFound, format!("the database {:?} has no table {}", request.database, name(request)))
        .hint("without --on-conflict a table is restored with its definition")
}

pub(super) fn no_key(target: &Target, request: &Request) -> Failure {
    let table = name(request);
    let words = if request.key.is_empty() {
        format!("{table} has no primary key, by which rows could be told apart")
    } else {
        format!("{table} has no unique index on just ({})", request.key.join(", "))
    };
    let others: Vec<String> = target.keys.iter().map(|key| format!("--key {}", key.names().join(","))).collect();
    Failure::new(Cause::Refused, words).hint(if others.is_empty() {
        String::from("make a unique index or a primary key first")
    } else {
        format!("it has: {}", others.join("; "))
    })
}

pub(super) fn in_the_way(request: &Request, merge: &Merge<'_>, count: u64, keys: &[String]) -> Failure {
    let more = if count > keys.len() as u64 { " and more" } else { "" };
    let words = format!(
        "{count} of the backup's rows are in {} already, by {}: {}{more}",
        name(request),
        merge.key.names().join(", "),
        keys.join("; ")
    );
    Failure::new(Cause::Refused, words)
        .hint("nothing was merged; --on-conflict skip leaves those rows as they are, update makes them the backup's")
}

/// What the server says against a row that is written: to which table, that nothing came of it, and what to do. The failure's cause, and whether
/// there is a hint already, decide; its SQLSTATE chooses words.
pub(super) fn kept_apart(request: &Request) -> impl Fn(Failure) -> Failure {
    move |failure| {
        if failure.cause != Cause::Query || failure.hint.is_some() {
            return failure;
        }
        let code = failure.message.rsplit_once("(SQLSTATE ").and_then(|(_, code)| code.strip_suffix(')')).unwrap_or_default();
        let what = match code {
            "23503" => "; merge the table that it refers to first",
            "23505" | "23P01" => {
                "; a row that is there has the same value under another key: choose that one with --key, change that row, or restore the table \
                 into a new database and look"
            }
            "0A000" => "; where it has rules (CREATE RULE), switch them off for as long as it takes: ALTER TABLE … DISABLE RULE …",
            _ => "",
        };
        let hint = format!("nothing was merged, the table is as it was{what}");
        failure.context(format!("merging into {}", name(request))).hint(hint)
    }
}
