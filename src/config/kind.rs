//! The forms a value can have, in the words that messages and the reference use.

/// What a key's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text without control characters.
    Text,
    /// A list of texts.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Count(u64, u64),
    /// A duration, zero allowed.
    Duration,
    /// A duration of a second or more.
    Interval,
    /// A duration of a second or more, or `"none"`.
    DurationOrNone,
    /// A list of durations.
    Durations,
    /// A number of bytes.
    Size,
    /// An absolute path.
    Path,
    /// A zone of the IANA database.
    Zone,
    /// A mail address.
    Email,
    /// A list of mail addresses.
    Emails,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A crontab line.
    Cron,
    /// An algorithm with or without a level.
    Compression,
    /// A list of names, or `"all"`.
    Databases,
    /// A URL, a keyword string or a table of keywords.
    Connection,
    /// Where a secret comes from.
    Secret,
    /// A list with one storage's name.
    Storages,
    /// The table of retention rules.
    Retention,
    /// The table of what is suspicious, or `false`.
    Anomaly,
    /// A share.
    Percent,
    /// The table of limits.
    Limits,
    /// A word or `{ pause_replay = … }`.
    Standby,
    /// A section of the file.
    Section,
    /// `[[project.schedule]]` tables.
    Schedules,
    /// The table of verification.
    Verify,
    /// A crontab line or the table of drills.
    Drill,
    /// `[[project.check]]` tables.
    Checks,
    /// A query.
    Sql,
    /// A name, or a list of names.
    Names,
}

impl Kind {
    /// What a value of this form is, with an example, to stand after "expected".
    pub(super) fn expected(self) -> String {
        String::from(match self {
            Self::Count(low, high) => return format!("a whole number from {low} to {high}"),
            Self::Words(words) => return one_of(words),
            Self::Text => "text in quotes",
            Self::Texts => "a list of texts such as [\"a\", \"b\"]",
            Self::Flag => "true or false",
            Self::Duration => "a duration such as \"26h\" or \"15 min\"",
            Self::Interval => "a duration of a second or more, such as \"26h\" or \"15 min\"",
            Self::DurationOrNone => "a duration of a second or more, such as \"26h\", or \"none\"",
            Self::Durations => "a list of durations such as [\"1 min\", \"5 min\"]",
            Self::Size => "a size such as \"2 GiB\" or \"500 MB\"",
            Self::Path => "a path that begins with / and is free of ..",
            Self::Zone => "a time zone such as \"Europe/Berlin\"",
            Self::Email => "a mail address such as \"oncall@example.org\"",
            Self::Emails => "a list of mail addresses such as [\"oncall@example.org\"]",
            Self::Cron => "a crontab line such as \"15 2 * * *\"",
            Self::Compression => "\"zstd\", \"gzip\", \"bzip2\", each also with a level (\"zstd:9\"), \"none\" or \"native\"",
            Self::Databases => "a list of names such as [\"shop\"], or \"all\"",
            Self::Connection => "a URL such as \"postgresql://backup@db.internal/shop\", a keyword string, or a table of libpq keywords",
            Self::Secret => "{ file = \"/path\" }, { env = \"NAME\" }, { command = [\"…\"] } or { credential = \"name\" }",
            Self::Storages => "a list with one name such as [\"main\"]",
            Self::Retention => "a table such as { keep_last = 3, keep_daily = 14 }",
            Self::Anomaly => "a table such as { rows_below = \"50%\" }, or false",
            Self::Percent => "a share from \"0%\" to \"100%\"",
            Self::Limits => "a table such as { lock_wait = \"5 min\" }",
            Self::Standby => "\"as-is\", \"refuse\" or { pause_replay = \"1h\" }",
            Self::Section => "a table, under a header such as [daemon]",
            Self::Schedules => "[[project.schedule]] tables",
            Self::Verify => "a table such as { after_backup = \"read\", recheck_every = \"30 days\" }",
            Self::Drill => "a crontab line such as \"@weekly\", or a table such as { cron = \"@weekly\", older = 2 }",
            Self::Checks => "[[project.check]] tables",
            Self::Names => "a name such as \"shop\", or a list of names",
            Self::Sql => "a query such as \"select count(*) > 1000 from orders\"",
        })
    }
}

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
