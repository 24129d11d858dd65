//! The one table of every key: name, form, default and what it means.
//!
//! Reading, the suggestions in messages, the environment twins and docs/configuration.md all follow it. It holds no code that reads values;
//! `daemon`, `project` and `schedule` do that, and a test checks that each key here reaches them.

use super::kind::Kind;

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// What its value looks like.
    pub(super) kind: Kind,
    /// The default as TOML text; empty where unset means something of its own, which `doc` then says.
    pub(super) default: &'static str,
    /// What it means, for people.
    pub(super) doc: &'static str,
}

/// The keys that may stand together in one table.
#[derive(Debug)]
pub(super) struct Section {
    /// As its header is written: `[daemon]`.
    pub(super) header: &'static str,
    /// What it is, for people.
    pub(super) doc: &'static str,
    /// Its keys; a group may be shared with another section.
    pub(super) groups: &'static [&'static [Key]],
}

impl Section {
    /// Every key, in the order in which it is read and documented.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// Every section, in the order of the reference.
pub(super) const SECTIONS: &[&Section] =
    &[&DAEMON, &STORAGE, &SMTP, &PROJECT, &SCHEDULE, &RETENTION, &ANOMALY, &LIMITS, &VERIFY, &DRILL, &CHECK, &SECRET];

/// `[daemon]`.
pub(super) const DAEMON: Section = Section {
    header: "[daemon]",
    doc: "The daemon itself. Each key has an environment twin, `PGDUMPD_DAEMON_` and the key in capitals, which wins over the file.",
    groups: &[&[
        key(
            "state_dir",
            Kind::Path,
            "\"/var/lib/pgdumpd\"",
            "Folder of the catalog: history, alerts and mail that waits. Not the place of backups.",
        ),
        key("time_zone", Kind::Zone, "\"UTC\"", "Zone of schedules and of retention's days and months, where a project names none."),
        key("max_parallel", Kind::Count(1, 1000), "2", "Dumps at once, over all projects."),
        key("max_parallel_per_server", Kind::Count(1, 1000), "1", "Dumps at once on one server."),
        key("drain", Kind::Duration, "\"0s\"", "How long running dumps may go on after TERM before they are interrupted."),
        key(
            "grace",
            Kind::Duration,
            "\"10s\"",
            "How long an interrupted dump has to end before it is killed, and dropping an unfinished database may take then.",
        ),
        key(
            "heartbeat",
            Kind::Interval,
            "\"30s\"",
            "How often the heartbeat is written, by which `status` tells a daemon at work from a dead one.",
        ),
        key("log_format", Kind::Words(&["text", "json"]), "\"text\"", "Log lines for people and the journal, or one JSON object a line."),
        key("weekly_summary", Kind::Cron, "", "When a summary of all projects is mailed. Unset: never."),
        key("diary", Kind::Interval, "\"400 days\"", "How long runs, slots and the audit log stay in the catalog."),
    ]],
};

/// `[storage.NAME]`.
pub(super) const STORAGE: Section = Section {
    header: "[storage.NAME]",
    doc: "A place for backups; projects name it in `storage`.",
    groups: &[&[
        key("type", Kind::Words(&["local"]), "\"local\"", "Kind of storage: `local` is a folder on this machine, or one mounted on it."),
        key("path", Kind::Path, "", "Root folder. Required. It carries a marker file, so that a disk that isn't mounted is noticed."),
        key("reserve", Kind::Size, "\"1 GiB\"", "Space that stays free whatever happens."),
    ]],
};

/// `[smtp]`.
pub(super) const SMTP: Section = Section {
    header: "[smtp]",
    doc: "How mail is sent; without it nothing is. Each key has an environment twin, `PGDUMPD_SMTP_` and the key in capitals, which wins over the file.",
    groups: &[&[
        key("host", Kind::Text, "", "Mail server; its certificate must carry this name. Required."),
        key("port", Kind::Count(1, 65535), "", "Port. Unset: 587 with `starttls`, 465 with `tls`, 25 with `none`."),
        key(
            "security",
            Kind::Words(&["starttls", "tls", "none"]),
            "\"starttls\"",
            "TLS after a plain greeting (required, not tried), from the first byte, or not at all.",
        ),
        key("ca_file", Kind::Path, "", "PEM file with an authority to trust besides the system's."),
        key("username", Kind::Text, "", "Login name. Unset: no authentication."),
        key(
            "password",
            Kind::Secret,
            "",
            "The login's password, read at each delivery. `PGDUMPD_SMTP_PASSWORD_FILE` names a file that holds it.",
        ),
        key("from", Kind::Email, "", "Sender. Required."),
        key("to", Kind::Emails, "", "Recipients where a project names none. Required."),
        key("timeout", Kind::Interval, "\"30s\"", "Longest wait for each step of the conversation."),
    ]],
};

/// `[[project]]`; `[defaults]` takes the same keys except `name`.
pub(super) const PROJECT: Section = Section {
    header: "[[project]]",
    doc: "One connection, the databases behind it, when they are dumped and what is kept. `[defaults]` takes the same keys, except `name`, for all projects.",
    groups: &[
        &[
            key("name", Kind::Text, "", "Unique name. Required. Its folder in the storage is named after it."),
            key("description", Kind::Text, "", "Free text for people."),
            key("enabled", Kind::Flag, "true", "A disabled project keeps its backups and records its slots as skipped."),
            key(
                "connection",
                Kind::Connection,
                "",
                "How to reach the server, in libpq's terms: a URL, a keyword string, or a table of keywords. Required.",
            ),
            key(
                "password",
                Kind::Secret,
                "",
                "Where the password is read from, when a run starts. Unset: libpq's own ways (`.pgpass`, peer, certificates).",
            ),
            key(
                "databases",
                Kind::Databases,
                "",
                "Names, or `\"all\"` for every one that isn't a template. Unset: the one that the connection names.",
            ),
            key("exclude_databases", Kind::Texts, "[]", "Globs of databases left out where `databases = \"all\"`."),
            key("globals", Kind::Flag, "false", "Whether roles and tablespaces are backed up too, as a backup of their own."),
            key("storage", Kind::Storages, "", "Where backups go: one name of a `[storage.NAME]`. Unset: the only one there is."),
            key(
                "retention",
                Kind::Retention,
                "",
                "What is kept, see below; a project's replaces the default's as a whole. Unset: everything.",
            ),
            key(
                "anomaly",
                Kind::Anomaly,
                "",
                "When a backup counts as suspicious, see below; `false` for never. What a project leaves out comes from the default's.",
            ),
            key(
                "max_backup_age",
                Kind::DurationOrNone,
                "",
                "A last good full backup older than this is told as stale. Where `content`, `tables` or the like of the project itself, not of its schedules alone, leaves something out, and no schedule makes full ones, the last good one of each part that its schedules make counts. Unset or `\"none\"`: never.",
            ),
            key("limits", Kind::Limits, "", "Bounds of a run, see below; what a project leaves out comes from the default's."),
            key("to", Kind::Emails, "", "Recipients. Unset: those of `[smtp]`."),
            key("reminder", Kind::Interval, "\"24h\"", "How often a failure that goes on is told again."),
            key("catch_up", Kind::Duration, "\"24h\"", "How far back a slot missed while pgdumpd was down is still run, once."),
            key(
                "server_lock",
                Kind::Flag,
                "true",
                "Whether an advisory lock keeps two hosts from dumping at once. Turn it off behind a pooler.",
            ),
            key(
                "standby",
                Kind::Standby,
                "\"as-is\"",
                "On a standby: dump and retry a conflict, `\"refuse\"`, or `{ pause_replay = \"1h\" }`, at most that long.",
            ),
            key("pg_bin_dir", Kind::Path, "", "Folder of the PostgreSQL clients. Unset: the best one installed for the server's version."),
            key("compression_workers", Kind::Count(1, 64), "1", "zstd threads; each more costs memory (39 MB with one, 74 with four)."),
        ],
        &[
            key("verify", Kind::Verify, "", "How stored backups are looked at again, see below. Unset: by hand only."),
            key("drill", Kind::Drill, "", "When a backup is restored for trial, and where, see below. Unset: by hand only."),
            key("check", Kind::Checks, "", "What a restored database must answer, see below."),
        ],
        SHAPE,
        TIME,
        &[key("schedule", Kind::Schedules, "", "When, see below; a project's schedules replace the default's. Unset: by hand only.")],
    ],
};

/// `[[project.schedule]]`.
pub(super) const SCHEDULE: Section = Section {
    header: "[[project.schedule]]",
    doc: "When a project is dumped, and how where that differs from the project.",
    groups: &[
        &[
            key("name", Kind::Text, "\"default\"", "Unique within the project."),
            key("enabled", Kind::Flag, "true", "A disabled schedule records its slots as skipped."),
            key(
                "cron",
                Kind::Cron,
                "",
                "Five fields as in crontab, six with seconds first, or `@daily` and its kin. This or `every` is required.",
            ),
            key("every", Kind::Interval, "", "A plain interval, counted from the last start; at least a second."),
        ],
        SHAPE,
        TIME,
    ],
};

/// What shapes a dump, in a project and, over it, in a schedule.
const SHAPE: &[Key] = &[
    key("content", Kind::Words(&["full", "schema", "data"]), "\"full\"", "Definitions and rows, definitions only, or rows only."),
    key(
        "format",
        Kind::Words(&["custom", "plain", "tar", "directory"]),
        "\"custom\"",
        "pg_dump's format. Only `custom` lets one table be read without the rest; `directory` is dumped by several `jobs` and kept as one tar.",
    ),
    key(
        "compression",
        Kind::Compression,
        "\"zstd\"",
        "`zstd`, `gzip`, `bzip2`, each with a level if wanted (`zstd:9`), `none`, or `native` (pg_dump's own).",
    ),
    key("jobs", Kind::Count(1, 256), "1", "Connections that dump in parallel; more than one needs the directory format."),
    key(
        "tables",
        Kind::Texts,
        "[]",
        "Only these tables, by pg_dump's patterns. A selection has its own retention and never stands in for a full backup.",
    ),
    key("exclude_tables", Kind::Texts, "[]", "Not these tables."),
    key("schemas", Kind::Texts, "[]", "Only these schemas."),
    key("exclude_schemas", Kind::Texts, "[]", "Not these schemas."),
    key("exclude_table_data", Kind::Texts, "[]", "These tables without their rows."),
    key(
        "options",
        Kind::Texts,
        "[]",
        "Further pg_dump options, one word each: `[\"--no-comments\"]`. What connects, writes files or hides rows is refused.",
    ),
];

/// Keys of time that a project has and a schedule may overrule.
const TIME: &[Key] = &[
    key(
        "time_zone",
        Kind::Zone,
        "",
        "Zone of the schedule, and in a project of retention's days. Unset: the next outer one, at last `[daemon]`'s.",
    ),
    key(
        "spread",
        Kind::Duration,
        "\"0s\"",
        "Delays each slot by a fixed part of this, chosen by the project's name, so that not all start at once.",
    ),
];

/// `retention = { … }`.
pub(super) const RETENTION: Section = Section {
    header: "retention",
    doc: "What is kept, per database and selection. The rules add up: a backup that any of them keeps stays. All unset keeps everything.",
    groups: &[&[
        key("keep_last", Kind::Count(0, 1_000_000), "", "The newest N."),
        key("keep_within", Kind::Interval, "", "Everything this much older than the newest, or younger."),
        key("keep_hourly", Kind::Count(0, 1_000_000), "", "The newest of each of the last N hours that have one."),
        key("keep_daily", Kind::Count(0, 1_000_000), "", "The same by day."),
        key("keep_weekly", Kind::Count(0, 1_000_000), "", "The same by week."),
        key("keep_monthly", Kind::Count(0, 1_000_000), "", "The same by month."),
        key("keep_yearly", Kind::Count(0, 1_000_000), "", "The same by year."),
        key("min_keep", Kind::Count(1, 1_000_000), "1", "So many stay whatever the rules say."),
    ]],
};

/// `anomaly = { … }`.
pub(super) const ANOMALY: Section = Section {
    header: "anomaly",
    doc: "When a backup falls out of the habit: the median of the last 7 normal ones of the same database and selection. It is \
          kept, marked as suspicious and mailed, and nothing of the project is pruned until the next normal one, `pgdumpd accept`, or `after` \
          alike in a row over `after_span`. Less than 1000 rows or 256 KiB lost (4 KiB of definitions or roles) is nothing unusual; losing every row of at \
          least 100 is.",
    groups: &[&[
        key("rows_below", Kind::Percent, "\"50%\"", "Fewer rows than this share of the habit. `\"0%\"`: rows don't count."),
        key(
            "size_below",
            Kind::Percent,
            "\"50%\"",
            "Fewer bytes before compression than this share of the habit. `\"0%\"`: the size doesn't count.",
        ),
        key(
            "tables",
            Kind::Flag,
            "true",
            "Whether a table of 1000 rows or more that is suddenly empty counts, and tables that are gone with a tenth of all rows and not replaced.",
        ),
        key("after", Kind::Count(2, 1000), "3", "So many alike in a row are the new habit."),
        key(
            "after_span",
            Kind::Duration,
            "\"7 days\"",
            "But not before the first of them is so much older than the last. `\"0\"`: by number alone.",
        ),
    ]],
};

/// `limits = { … }`.
pub(super) const LIMITS: Section = Section {
    header: "limits",
    doc: "The bounds of a run: every run ends.",
    groups: &[&[
        key(
            "lock_wait",
            Kind::Interval,
            "\"5 min\"",
            "Longest wait for a table lock; also how long dropping a database may take after a restore or a drill.",
        ),
        key("no_progress", Kind::Interval, "\"30 min\"", "Longest time without a byte from pg_dump."),
        key("total", Kind::DurationOrNone, "\"none\"", "Longest time for the whole dump."),
        key("connect", Kind::Interval, "\"30s\"", "Longest wait for a connection."),
        key(
            "retries",
            Kind::Durations,
            "[\"1 min\", \"5 min\"]",
            "Waits before the attempts after a failure that may pass; `[]` for a single attempt, in the variable `none`.",
        ),
    ]],
};

/// `verify = { … }`.
pub(super) const VERIFY: Section = Section {
    header: "verify",
    doc: "How stored backups are looked at again: `checksum` proves that the stored bytes are the ones that were written, `read` that pg_restore reads them to the end as well.",
    groups: &[&[
        key(
            "after_backup",
            Kind::Words(&["none", "checksum", "read"]),
            "\"none\"",
            "Each new backup is looked at on this level, before older ones are pruned.",
        ),
        key(
            "recheck_every",
            Kind::DurationOrNone,
            "\"none\"",
            "Each stored backup is looked at again about this often, on the same level or `checksum`, one at a time and never while a dump runs.",
        ),
    ]],
};

/// `drill = …`.
pub(super) const DRILL: Section = Section {
    header: "drill",
    doc: "When a backup is restored into a scratch database, compared with its manifest, and asked the project's checks. A crontab line alone, or a table. Its slots are named `drill`. Drills run one at a time, beside the dumps; one that can't reach its server tries again as `retries` says.",
    groups: &[&[
        key("cron", Kind::Cron, "", "Five fields as in crontab, six with seconds first, or `@weekly` and its kin. Required."),
        key(
            "on",
            Kind::Connection,
            "",
            "A server to restore on. Unset: a throwaway cluster made from the PostgreSQL server programs on this machine.",
        ),
        key("password", Kind::Secret, "", "Where that server's password is read from. Unset: libpq's own ways."),
        key("older", Kind::Count(0, 100), "1", "How many older backups, chosen at random, are restored besides the newest."),
    ]],
};

/// `[[project.check]]`.
pub(super) const CHECK: Section = Section {
    header: "[[project.check]]",
    doc: "A question to the restored database, asked read-only and for a minute at most; whatever isn't true fails the drill.",
    groups: &[&[
        key("name", Kind::Text, "", "What it is called. Unset: by its query."),
        key("sql", Kind::Sql, "", "A query that returns one row with one boolean: `select count(*) > 1000 from orders`. Required."),
        key("database", Kind::Names, "", "The database that it is asked of, or a list of them. Unset: each database of the project."),
    ]],
};

/// `password = { … }`.
pub(super) const SECRET: Section = Section {
    header: "password",
    doc: "Where a secret is read from: one of these. A file's first line counts; others must not be able to read it, except below `/run/secrets`.",
    groups: &[&[
        key("file", Kind::Path, "", "A file that only its owner can read."),
        key("env", Kind::Text, "", "An environment variable."),
        key("command", Kind::Texts, "", "A command and its arguments; the first line that it prints."),
        key("credential", Kind::Text, "", "A systemd credential (`LoadCredential=`)."),
    ]],
};
