//! Which `pg_dump` options people may add to a dump, and why not the others.
//!
//! Owns the allow-list: an option that isn't on it is refused with a reason, because it would break a promise (what is dumped, where it
//! goes, that it ends) or isn't known. Pure. The configuration vets every option before anything runs; `postgres::dump` spells them.

use super::dump::{Content, DumpShape, Format};
use crate::error::{Cause, Failure, Result};

/// Allowed options: long name, short name, whether a value follows.
const ALLOWED: [(&str, &str, bool); 36] = [
    ("blobs", "b", false),
    ("large-objects", "", false),
    ("no-blobs", "B", false),
    ("no-large-objects", "", false),
    ("clean", "c", false),
    ("create", "C", false),
    ("if-exists", "", false),
    ("encoding", "E", true),
    ("no-owner", "O", false),
    ("no-privileges", "x", false),
    ("no-acl", "", false),
    ("superuser", "S", true),
    ("verbose", "v", false),
    ("section", "", true),
    ("inserts", "", false),
    ("column-inserts", "", false),
    ("attribute-inserts", "", false),
    ("rows-per-insert", "", true),
    ("on-conflict-do-nothing", "", false),
    ("disable-dollar-quoting", "", false),
    ("disable-triggers", "", false),
    ("extra-float-digits", "", true),
    ("include-foreign-data", "", true),
    ("load-via-partition-root", "", false),
    ("no-comments", "", false),
    ("no-policies", "", false),
    ("no-publications", "", false),
    ("no-security-labels", "", false),
    ("no-subscriptions", "", false),
    ("no-table-access-method", "", false),
    ("no-tablespaces", "", false),
    ("no-toast-compression", "", false),
    ("no-unlogged-table-data", "", false),
    ("quote-all-identifiers", "", false),
    ("serializable-deferrable", "", false),
    ("use-set-session-authorization", "", false),
];

const BY_CONNECTION: &str = "the connection says where the dump comes from";
const BY_CONTENT: &str = "use content = \"full\", \"schema\" or \"data\"";
const BY_PATTERNS: &str = "use the keys for included and excluded tables and schemas, which are checked before the dump";

/// Refused options with the reason: long name, short name, reason.
const REFUSED: [(&str, &str, &str); 42] = [
    ("file", "f", "pgdumpd itself stores what pg_dump writes"),
    ("format", "F", "use the key format"),
    ("compress", "Z", "use the key compression"),
    ("jobs", "j", "use the key jobs with the directory format"),
    ("no-sync", "", "pgdumpd itself makes the backup durable"),
    ("lock-wait-timeout", "", "use the limit for locks, so that every run ends"),
    ("enable-row-security", "", "it silently leaves out the rows that the role may not see; give the role BYPASSRLS instead"),
    ("role", "", "checks and dump must run as the same role; set it in the connection: options = \"-c role=NAME\""),
    ("host", "h", BY_CONNECTION),
    ("port", "p", BY_CONNECTION),
    ("username", "U", BY_CONNECTION),
    ("dbname", "d", BY_CONNECTION),
    ("password", "W", "nobody is there to be asked; use the key password"),
    ("no-password", "w", "it is always given"),
    ("schema-only", "s", BY_CONTENT),
    ("data-only", "a", BY_CONTENT),
    ("no-data", "", BY_CONTENT),
    ("no-schema", "", BY_CONTENT),
    ("statistics-only", "", BY_CONTENT),
    ("table", "t", BY_PATTERNS),
    ("exclude-table", "T", BY_PATTERNS),
    ("schema", "n", BY_PATTERNS),
    ("exclude-schema", "N", BY_PATTERNS),
    ("exclude-table-data", "", BY_PATTERNS),
    ("table-and-children", "", BY_PATTERNS),
    ("exclude-table-and-children", "", BY_PATTERNS),
    ("exclude-table-data-and-children", "", BY_PATTERNS),
    ("extension", "e", BY_PATTERNS),
    ("exclude-extension", "", BY_PATTERNS),
    ("filter", "", BY_PATTERNS),
    ("strict-names", "", "it is given with every selection"),
    ("snapshot", "", "the snapshot would have to outlive the run that made it"),
    ("no-synchronized-snapshots", "", "the parts of the dump would not fit together"),
    ("binary-upgrade", "", "it is for pg_upgrade alone, and its dumps restore nowhere else"),
    ("restrict-key", "", "pg_dump makes its own, which nobody can guess"),
    ("oids", "o", "no supported pg_dump has it"),
    ("help", "?", "it dumps nothing"),
    ("version", "V", "it dumps nothing"),
    ("no-statistics", "", "statistics are left out already"),
    ("statistics", "", "statistics are rebuilt by ANALYZE after a restore"),
    ("with-statistics", "", "statistics are rebuilt by ANALYZE after a restore"),
    ("sequence-data", "", "a full or data dump has it already"),
];

/// Options that write rows as INSERT, where lines are not rows.
const INSERTS: [&str; 4] = ["inserts", "column-inserts", "attribute-inserts", "rows-per-insert"];

/// Options without which a dump holds more rows, large objects or objects.
const LEAVE_OUT: [&str; 4] = ["no-blobs", "no-large-objects", "section", "no-unlogged-table-data"];

/// The options that make a dump hold something else than without them, in their long form. How things are written is no matter of what is
/// dumped, nor is what every restore can do without: owners, comments.
pub(super) fn that_select(options: &[String]) -> Vec<String> {
    let chosen = options.iter().filter_map(|option| long_name(option)).filter(|(name, _)| LEAVE_OUT.contains(name));
    chosen.map(|(name, value)| value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}"))).collect()
}

/// Whether a dump makes its database by itself and goes there: only a script does, an archive is told so when it is restored.
#[must_use]
pub fn makes_database(options: &[String], format: Format) -> bool {
    format == Format::Plain && names(options).any(|name| name == "create")
}

/// Checks the options people added. Fails with [`Cause::Configuration`] at the first that is refused or unknown.
pub fn vet_options(options: &[String]) -> Result<()> {
    options.iter().try_for_each(|option| vet(option))
}

/// Checks what only the options together can tell: `pg_dump` refuses one without another.
pub fn vet_together(options: &[String]) -> Result<()> {
    let given = |wanted: &str| names(options).any(|name| name == wanted);
    if given("if-exists") && !given("clean") {
        let refused = "the pg_dump option \"--if-exists\" can't be used: it says how --clean drops, and that isn't there";
        return Err(Failure::new(Cause::Configuration, refused).hint("add --clean, or leave it out"));
    }
    if given("on-conflict-do-nothing") && !INSERTS.iter().any(|name| given(name)) {
        let refused =
            "the pg_dump option \"--on-conflict-do-nothing\" can't be used: it belongs to rows written as INSERT, and these aren't";
        return Err(
            Failure::new(Cause::Configuration, refused).hint("add --inserts, --column-inserts or --rows-per-insert=N, or leave it out")
        );
    }
    Ok(())
}

/// The key of the configuration that says what a refused option says; `None` where none does.
#[must_use]
pub fn key_instead(option: &str) -> Option<&'static str> {
    let (name, _) = long_name(option)?;
    Some(match name {
        "format" => "format",
        "compress" => "compression",
        "jobs" => "jobs",
        "schema-only" | "data-only" | "no-data" | "no-schema" => "content",
        "table" => "tables",
        "exclude-table" => "exclude_tables",
        "schema" => "schemas",
        "exclude-schema" => "exclude_schemas",
        "exclude-table-data" => "exclude_table_data",
        "lock-wait-timeout" => "limits_lock_wait",
        _ => return None,
    })
}

/// The long form of an option that may be used: `--no-owner` for `-O`.
#[must_use]
pub fn in_full(option: &str) -> Option<String> {
    let (name, value) = long_name(option)?;
    let known = ALLOWED.iter().any(|(long, _, _)| *long == name);
    known.then(|| value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")))
}

fn vet(option: &str) -> Result<()> {
    let refused = |why: &str| Failure::new(Cause::Configuration, format!("the pg_dump option {option:?} can't be used: {why}"));
    let Some((name, value)) = long_name(option) else {
        return Err(refused("it isn't an option").hint("write one option a word, with its value after an equals sign: \"--encoding=UTF8\""));
    };
    if let Some((_, _, why)) = REFUSED.iter().find(|(long, _, _)| *long == name) {
        return Err(refused(why));
    }
    match ALLOWED.iter().find(|(long, _, _)| *long == name) {
        Some((_, _, true)) if value.is_none_or(str::is_empty) => {
            Err(refused("it needs a value").hint(format!("write it as one word: \"--{name}=VALUE\"")))
        }
        Some((_, _, false)) if value.is_some() => Err(refused("it takes no value")),
        Some(_) => Ok(()),
        None => Err(suggest(refused("it isn't known"), name)),
    }
}

fn suggest(failure: Failure, name: &str) -> Failure {
    let near = ALLOWED.iter().map(|(long, _, _)| (*long, strsim::jaro_winkler(long, name))).max_by(|a, b| a.1.total_cmp(&b.1));
    match near {
        Some((long, likeness)) if likeness > 0.85 => failure.hint(format!("did you mean \"--{long}\"?")),
        _ => failure.hint("allowed are the options of pg_dump's manual that change how things are written, in their long form"),
    }
}

/// The long name and the value of an option in either form; `None` where it is no option at all.
fn long_name(option: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = option.strip_prefix("--") {
        let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
        return (!name.is_empty()).then_some((name, value));
    }
    let rest = option.strip_prefix('-')?;
    let letter = rest.chars().next()?;
    let value = Some(&rest[letter.len_utf8()..]).filter(|value| !value.is_empty());
    let known = ALLOWED.iter().map(|(long, short, _)| (*long, *short)).chain(REFUSED.iter().map(|(long, short, _)| (*long, *short)));
    let mut long = known.filter(|(_, short)| short.starts_with(letter)).map(|(long, _)| long);
    long.next().map(|long| (long, value)).or(Some((rest, None)))
}

/// The names in use, in their long form.
pub fn names(options: &[String]) -> impl Iterator<Item = &str> {
    options.iter().filter_map(|option| long_name(option)).map(|(name, _)| name)
}

/// Whether the options make a table's rows uncountable, so that they are unknown instead of wrong.
#[must_use]
pub fn breaks_row_counting(options: &[String]) -> bool {
    names(options).any(|name| INSERTS.contains(&name))
}

/// Whether large objects are dumped: with their rows, unless a selection or an option leaves them out (manual: `pg_dump`, `-b`).
#[must_use]
pub fn dumps_large_objects(shape: &DumpShape) -> bool {
    let selected = !shape.include_tables.is_empty() || !shape.include_schemas.is_empty();
    let asked = |wanted: [&str; 2]| names(&shape.options).any(|name| wanted.contains(&name));
    let rows = matches!(shape.content, Content::Full | Content::Data);
    let by_default = rows && !selected;
    (by_default || asked(["blobs", "large-objects"])) && !asked(["no-blobs", "no-large-objects"])
}

/// The options as a client of this version (150018 is 15.18) spells them: release 16 renamed those of large objects.
#[must_use]
pub fn for_client(options: &[String], version_num: u32) -> Vec<String> {
    let modern = version_num >= 160_000;
    let spell = |option: &String| match (option.as_str(), modern) {
        ("-b" | "--blobs" | "--large-objects", true) => String::from("--large-objects"),
        ("-b" | "--blobs" | "--large-objects", false) => String::from("--blobs"),
        ("-B" | "--no-blobs" | "--no-large-objects", true) => String::from("--no-large-objects"),
        ("-B" | "--no-blobs" | "--no-large-objects", false) => String::from("--no-blobs"),
        _ => option.clone(),
    };
    options.iter().map(spell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(option: &str) -> Failure {
        vet_options(&[option.to_owned()]).unwrap_err()
    }

    #[test]
    fn harmless_options_pass_in_either_form() {
        let options = ["--no-comments", "-O", "-x", "--encoding=UTF8", "-EUTF8", "--rows-per-insert=100", "-C"].map(String::from);
        vet_options(&options).unwrap();
    }

    #[test]
    fn what_breaks_a_promise_is_refused_with_its_reason() {
        let refused = ["--file=/etc/x", "-f/etc/x", "--enable-row-security", "-j4", "--jobs=4", "--format=p", "-Fp", "-Z9", "--host=x"];
        let more = ["-hx", "--snapshot=1", "--role=x", "--section", "--no-owner=1", "-Ox", "", "-", "--", "shop", "--filter=x", "-t x"];
        for option in refused.into_iter().chain(more) {
            let failure = refusal(option);
            assert_eq!(failure.cause, Cause::Configuration, "{option}");
            assert!(failure.message.contains(&format!("{option:?}")), "{}", failure.message);
        }
        assert!(refusal("--enable-row-security").message.contains("BYPASSRLS"));
    }

    #[test]
    fn what_has_a_key_is_told_with_it() {
        let keys = ["-Z1", "--schema=public", "-npublic", "-tx", "-Fp", "-s", "--exclude-table-data=x"].map(key_instead);
        let expected = ["compression", "schemas", "schemas", "tables", "format", "content", "exclude_table_data"].map(Some);
        assert_eq!(keys, expected);
        assert_eq!((key_instead("--file=x"), key_instead("--no-owner")), (None, None));
        assert!(REFUSED.iter().filter(|(name, _, _)| key_instead(&format!("--{name}")).is_some()).count() >= 12);
        assert_eq!(in_full("-O").as_deref(), Some("--no-owner"));
        assert_eq!((in_full("-EUTF8").as_deref(), in_full("-Z9"), in_full("-y")), (Some("--encoding=UTF8"), None, None));
    }

    #[test]
    fn an_option_that_says_how_needs_the_one_that_says_what() {
        let together = |options: &[&str]| vet_together(&options.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(together(&["--if-exists"]).unwrap_err().message.contains("--clean"));
        together(&["--if-exists", "--clean"]).unwrap();
        together(&["--clean"]).unwrap();
        assert!(together(&["--on-conflict-do-nothing"]).unwrap_err().hint.unwrap().contains("--inserts"));
        together(&["--on-conflict-do-nothing", "--rows-per-insert=100"]).unwrap();
    }

    #[test]
    fn a_typo_gets_a_suggestion() {
        assert_eq!(refusal("--no-coments").hint.as_deref(), Some("did you mean \"--no-comments\"?"));
    }

    #[test]
    fn no_option_is_both_allowed_and_refused() {
        assert!(ALLOWED.iter().all(|(allowed, _, _)| REFUSED.iter().all(|(refused, _, _)| allowed != refused)));
    }

    #[test]
    fn inserts_break_row_counting() {
        assert!(breaks_row_counting(&["--rows-per-insert=5".to_owned()]));
        assert!(!breaks_row_counting(&["--no-comments".to_owned()]));
    }

    #[test]
    fn large_objects_follow_selection_and_options() {
        let shape = |tables: &[&str], options: &[&str]| DumpShape {
            include_tables: tables.iter().map(ToString::to_string).collect(),
            options: options.iter().map(ToString::to_string).collect(),
            ..DumpShape::default()
        };
        assert!(dumps_large_objects(&shape(&[], &[])));
        assert!(!dumps_large_objects(&shape(&["a"], &[])));
        assert!(dumps_large_objects(&shape(&["a"], &["-b"])));
        assert!(!dumps_large_objects(&shape(&[], &["--no-blobs"])));
    }
}
