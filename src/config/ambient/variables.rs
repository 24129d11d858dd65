//! Which variables say what: our own, one for each key of the tables, and the names that popular images and libpq use for the same.
//!
//! Only a table; `gather` reads the values. docs/configuration.md prints it, and a test compares.

use std::borrow::Cow;

use super::super::keys::{ANOMALY, DAEMON, DRILL, Key, LIMITS, PROJECT, RETENTION, SECTIONS, SMTP, STORAGE, Section, VERIFY};
use super::super::kind::Kind;

/// What our own variables begin with.
pub(super) const OURS: &str = "PGDUMPD_";

/// What begins like this and isn't known is most likely mistyped.
pub(super) const WATCHED: [&str; 2] = [OURS, "BACKUP_"];

/// Our variables that are no keys of the configuration.
pub(super) const APART: [&str; 1] = ["PGDUMPD_CONFIG"];

/// The part of the configuration that a value goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `[daemon]`.
    Daemon,
    /// `[storage.main]`.
    Storage,
    /// `[smtp]`.
    Smtp,
    /// `[[project]]`.
    Project,
    /// Its connection, as a table of libpq's keywords.
    Connection,
    /// Its retention.
    Retention,
    /// When one of its backups is suspicious.
    Anomaly,
    /// Its limits.
    Limits,
    /// How its backups are looked at again.
    Verify,
    /// Its drill.
    Drill,
    /// Its checks, each a key with a query.
    Check,
    /// Its one schedule.
    Schedule,
}

/// How a variable's text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the key's own kind; lists are separated by commas.
    Plain(Kind),
    /// A list separated by commas or blanks, or `all`.
    Names,
    /// Words separated by blanks.
    Words,
    /// A number of this unit.
    Number(&'static str),
    /// A crontab line, `@daily` and its kin, `@every 6h` or `6h`.
    When,
    /// A compression, or `true` and `false`.
    Compression,
    /// `true`: the whole server, with roles.
    Cluster,
    /// A query; in a file on as many lines as it likes.
    Query,
    /// For so long at most replay is paused.
    Pause,
}

/// One variable.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) part: Part,
    pub(super) key: Cow<'static, str>,
    pub(super) form: Form,
}

/// A name from elsewhere: what it goes to, and its meaning where our own name doesn't tell it.
const BORROWED: &[(&str, Part, &str, Form)] = &[
    ("DATABASE_URL", Part::Project, "connection", Form::Plain(Kind::Connection)),
    ("POSTGRES_HOST", Part::Connection, "host", Form::Plain(Kind::Text)),
    ("PGHOST", Part::Connection, "host", Form::Plain(Kind::Text)),
    ("PGHOSTADDR", Part::Connection, "hostaddr", Form::Plain(Kind::Text)),
    ("POSTGRES_PORT", Part::Connection, "port", Form::Plain(Kind::Text)),
    ("PGPORT", Part::Connection, "port", Form::Plain(Kind::Text)),
    ("POSTGRES_USER", Part::Connection, "user", Form::Plain(Kind::Text)),
    ("PGUSER", Part::Connection, "user", Form::Plain(Kind::Text)),
    ("PGSERVICE", Part::Connection, "service", Form::Plain(Kind::Text)),
    ("POSTGRES_PASSWORD", Part::Project, "password", Form::Plain(Kind::Secret)),
    ("PGPASSWORD", Part::Project, "password", Form::Plain(Kind::Secret)),
    ("POSTGRES_DB", Part::Project, "databases", Form::Names),
    ("POSTGRES_DATABASE", Part::Project, "databases", Form::Names),
    ("PGDATABASE", Part::Project, "databases", Form::Plain(Kind::Databases)),
    ("POSTGRES_CLUSTER", Part::Project, "globals", Form::Cluster),
    ("POSTGRES_EXTRA_OPTS", Part::Project, "options", Form::Words),
    ("PGDUMP_EXTRA_OPTS", Part::Project, "options", Form::Words),
    ("SCHEDULE", Part::Schedule, "cron", Form::When),
    ("BACKUP_SCHEDULE_FULL", Part::Schedule, "cron", Form::When),
    ("BACKUP_DIR", Part::Storage, "path", Form::Plain(Kind::Path)),
    ("BACKUP_COMPRESSION", Part::Project, "compression", Form::Compression),
    ("BACKUP_RETENTION_DAYS", Part::Retention, "keep_within", Form::Number(" days")),
    ("BACKUP_KEEP_MINS", Part::Retention, "keep_within", Form::Number(" min")),
    ("BACKUP_KEEP_DAYS", Part::Retention, "keep_daily", Form::Number("")),
    ("BACKUP_KEEP_WEEKS", Part::Retention, "keep_weekly", Form::Number("")),
    ("BACKUP_KEEP_MONTHS", Part::Retention, "keep_monthly", Form::Number("")),
    ("BACKUP_NOTIFICATION_EMAIL", Part::Smtp, "to", Form::Plain(Kind::Emails)),
    ("TZ", Part::Daemon, "time_zone", Form::Plain(Kind::Zone)),
];

/// Our own names where there is no key of that name.
const NAMED: &[(&str, Part, &str, Form)] = &[
    ("PGDUMPD_HOST", Part::Connection, "host", Form::Plain(Kind::Text)),
    ("PGDUMPD_PORT", Part::Connection, "port", Form::Plain(Kind::Text)),
    ("PGDUMPD_USER", Part::Connection, "user", Form::Plain(Kind::Text)),
    ("PGDUMPD_SERVICE", Part::Connection, "service", Form::Plain(Kind::Text)),
    ("PGDUMPD_SCHEDULE", Part::Schedule, "cron", Form::When),
    ("PGDUMPD_STANDBY_PAUSE_REPLAY", Part::Project, "standby", Form::Pause),
    ("PGDUMPD_ANOMALY", Part::Project, "anomaly", Form::Plain(Kind::Flag)),
    ("PGDUMPD_DRILL", Part::Drill, "cron", Form::Plain(Kind::Cron)),
    ("PGDUMPD_CHECK", Part::Check, "check", Form::Query),
];

/// What follows is the name of one more check.
const CHECKS: &str = "PGDUMPD_CHECK_";

/// What popular images do and pgdumpd doesn't (yet): refused where it would be missed, told where it would not.
pub(super) const REFUSED: &[(&str, &str, &str)] = &[
    ("BACKUP_SCHEDULE_INCREMENTAL", "incremental backups can't be made yet", "unset it; BACKUP_SCHEDULE_FULL may run as often"),
    ("BACKUP_ENCRYPT", "backups can't be encrypted yet", "unset it, and encrypt the disk that the backups lie on"),
    ("BACKUP_ENCRYPTION_KEY", "backups can't be encrypted yet", "unset it, and encrypt the disk that the backups lie on"),
    ("POSTGRES_PASSFILE_STORE", "libpq has its own name for this", "name the file in PGPASSFILE instead"),
];

/// As [`REFUSED`], but nothing is lost by it; with the value that asks for what is done anyway.
pub(super) const WITHOUT_EFFECT: &[(&str, bool, &str)] = &[
    ("BACKUP_ON_START", false, "type `pgdumpd backup` for one more at once"),
    ("BACKUP_SUFFIX", false, "backups have names of their own, see `pgdumpd list`"),
    ("BACKUP_LATEST_TYPE", false, "`latest` names the newest backup in every command"),
    ("HEALTHCHECK_PORT", false, "the image's own check asks `pgdumpd status`"),
    ("VALIDATE_ON_START", true, "the variables are always checked, and the database is waited for"),
    ("WEBHOOK_URL", false, "failures are mailed: set PGDUMPD_SMTP_HOST"),
    ("S3_BUCKET", false, "backups go to BACKUP_DIR; nothing is stored in S3 yet"),
];

/// Every variable that is read, ours first.
pub(super) fn all() -> Vec<Variable> {
    let own = [
        (Part::Daemon, "DAEMON_", &DAEMON),
        (Part::Storage, "STORAGE_", &STORAGE),
        (Part::Smtp, "SMTP_", &SMTP),
        (Part::Project, "", &PROJECT),
        (Part::Retention, "", &RETENTION),
        (Part::Anomaly, "ANOMALY_", &ANOMALY),
        (Part::Limits, "LIMITS_", &LIMITS),
        (Part::Verify, "VERIFY_", &VERIFY),
        (Part::Drill, "DRILL_", &DRILL),
    ];
    let own = own.into_iter().flat_map(|(part, word, section)| {
        section.keys().filter_map(move |key| {
            let form = form(section, key)?;
            Some(Variable { name: format!("{OURS}{word}{}", key.name.to_uppercase()), part, key: Cow::Borrowed(key.name), form })
        })
    });
    let given = NAMED.iter().chain(BORROWED);
    own.chain(given.map(|(name, part, key, form)| Variable {
        name: (*name).to_owned(),
        part: *part,
        key: Cow::Borrowed(*key),
        form: *form,
    }))
    .collect()
}

/// The check that a variable, or its `_FILE`, asks for under a name of its own.
pub(super) fn check(name: &str) -> Option<Variable> {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    let called = name.strip_prefix(CHECKS).filter(|rest| !rest.is_empty())?.to_lowercase();
    Some(Variable { name: name.to_owned(), part: Part::Check, key: Cow::Owned(called), form: Form::Query })
}

/// How a key's own variable is written; `None` for tables of tables, which no variable can hold, and for what has one value only.
fn form(section: &Section, key: &Key) -> Option<Form> {
    match key.kind {
        // One project, one storage, at work.
        _ if section.header == PROJECT.header && ["enabled", "storage"].contains(&key.name) => None,
        _ if section.header == STORAGE.header && key.name == "type" => None,
        Kind::Databases => Some(Form::Names),
        Kind::Text
        | Kind::Texts
        | Kind::Flag
        | Kind::Count(..)
        | Kind::Duration
        | Kind::Interval
        | Kind::DurationOrNone
        | Kind::Durations
        | Kind::Size
        | Kind::Path
        | Kind::Zone
        | Kind::Email
        | Kind::Emails
        | Kind::Words(_)
        | Kind::Cron
        | Kind::Compression
        | Kind::Connection
        | Kind::Secret
        | Kind::Percent
        | Kind::Standby => Some(Form::Plain(key.kind)),
        _ => None,
    }
}

/// The reference's chapter on variables.
pub(in super::super) fn reference() -> String {
    let mut text = String::from(
        "\n## Without a file\n\n\
         Where no file is named and `/etc/pgdumpd/pgdumpd.toml` doesn't exist, variables alone make a configuration of one project and one\n\
         storage, with the same defaults and checks. Beyond those of the tables above: the schedule is `@daily`, backups go to\n\
         `/var/backups/pgdumpd` (in the image: `/backups`), and `max_backup_age` is half as long again as the longest wait between two backups,\n\
         at least two hours more. Each variable may be replaced by the same name with `_FILE`, which names a file with the value. An empty\n\
         variable counts as unset. Two that contradict each other, and one that begins with `PGDUMPD_` or `BACKUP_` and isn't known, are errors;\n\
         what Kubernetes sets for its services is ignored.\n\n\
         | variable | key | value |\n|---|---|---|\n",
    );
    let variables = all();
    for variable in variables.iter().filter(|variable| is_listed(&variable.name)) {
        text.push_str(&format!("| `{}` | {} | {} |\n", variable.name, home(variable), words(variable)));
    }
    let keys: Vec<String> =
        variables.iter().filter(|variable| !is_listed(&variable.name)).map(|variable| format!("`{}`", variable.name)).collect();
    text.push_str(&format!("\nEvery other key by its own name: {}.\n", keys.join(", ")));
    text.push_str(&format!(
        "\nEach further check is a variable of its own, `{CHECKS}` and the check's name: `{CHECKS}ORDERS=select count(*) > 1000 from orders`.\n\
         Such a check is asked of each database; one for single databases needs a file.\n\
         A drill needs `PGDUMPD_DRILL_ON`, a server to restore on, where PostgreSQL's server programs aren't installed, as in the image.\n\
         How TLS is used may be said in libpq's own variables as well, also with a file: `PGSSLMODE`, `PGSSLROOTCERT` and kin.\n"
    ));
    text.push_str("\n`PG_DUMP_PATH` and `PSQL_PATH` name the programs to use, also with a file.\n\nNot read, and refused: ");
    let refused: Vec<String> = REFUSED.iter().map(|(name, why, _)| format!("`{name}` ({why})")).collect();
    let useless: Vec<String> = WITHOUT_EFFECT.iter().map(|(name, _, why)| format!("`{name}` ({why})")).collect();
    text.push_str(&format!("{}. Without effect, and told: {}.\n", refused.join(", "), useless.join(", ")));
    text
}

/// Whether the name has a row of its own: it isn't made of its key's.
fn is_listed(name: &str) -> bool {
    NAMED.iter().chain(BORROWED).any(|known| known.0 == name)
}

fn home(variable: &Variable) -> String {
    let key = &variable.key;
    match variable.part {
        Part::Daemon => format!("`{key}` of `[daemon]`"),
        Part::Storage => format!("`{key}` of the storage"),
        Part::Smtp => format!("`{key}` of `[smtp]`"),
        Part::Project => format!("`{key}`"),
        Part::Connection => format!("`connection.{key}`"),
        Part::Retention => format!("`retention.{key}`"),
        Part::Anomaly => format!("`anomaly.{key}`"),
        Part::Limits => format!("`limits.{key}`"),
        Part::Verify => format!("`verify.{key}`"),
        Part::Drill => format!("`drill.{key}`"),
        Part::Check => format!("a check named `{key}`"),
        Part::Schedule => String::from("`schedule`"),
    }
}

fn words(variable: &Variable) -> String {
    let expected = SECTIONS.iter().find_map(|section| section.key(&variable.key)).map(|key| key.kind.expected().replace('|', "\\|"));
    match variable.form {
        Form::Names => String::from("names separated by commas or blanks, or `all`"),
        Form::Words => String::from("words separated by blanks"),
        Form::Number("") => String::from("a whole number"),
        Form::Number(unit) => format!("a whole number of{unit}"),
        Form::When => String::from("a crontab line, `@daily` and its kin, or an interval: `6h`, `@every 6h`"),
        Form::Compression => String::from("as `compression`; `true` for the default, `false` for `none`"),
        Form::Cluster => String::from("`true`: `databases = \"all\"` and `globals = true`"),
        Form::Query => String::from("a query that returns one row with one boolean"),
        Form::Pause => String::from("a duration: `{ pause_replay = … }`"),
        _ if variable.name == "PGDUMPD_ANOMALY" => String::from("`false` for never"),
        Form::Plain(Kind::Secret) => String::from("the secret itself"),
        Form::Plain(Kind::Connection) => String::from("a URL such as `postgresql://backup@db.internal/shop`, or a keyword string"),
        Form::Plain(Kind::Databases) => String::from("one name"),
        Form::Plain(Kind::Emails) => String::from("mail addresses separated by commas"),
        Form::Plain(Kind::Text) => String::from("text"),
        Form::Plain(_) => expected.unwrap_or_default(),
    }
}
