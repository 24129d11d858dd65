//! What these tests share: a server with two databases, a configured rig, and answers with what changes from run to run taken out.

use crate::cluster::{Cluster, Setup};
use crate::rig::{Ended, Rig};

/// A server and a pgdumpd beside it.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) rig: Rig,
}

impl Bench {
    /// With the databases `shop` (3 orders) and `billing` (2 invoices).
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let cluster = setup.start();
        for (database, table, rows) in [("shop", "orders", 3), ("billing", "invoices", 2)] {
            cluster.psql(&format!("create database {database}"));
            cluster.psql_in(database, &format!("create table {table} as select g id from generate_series(1, {rows}) g"));
        }
        Self { cluster, rig: Rig::new() }
    }

    /// A project's table, without retries; `more` are further lines of it.
    pub(crate) fn project(&self, name: &str, database: &str, more: &str) -> String {
        format!("[[project]]\nname = {name:?}\nconnection = {:?}\nlimits = {{ retries = [] }}\n{more}\n", self.cluster.url(database))
    }

    /// Runs and expects this exit code.
    pub(crate) fn run(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.rig.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        ended
    }

    /// Runs, expects this exit code, and takes what changes from run to run out of both outputs.
    pub(crate) fn told(&self, code: i32, arguments: &[&str]) -> String {
        let ended = self.run(code, arguments);
        let mut text = format!("$ pgdumpd {}\n{}", arguments.join(" "), ended.stdout);
        if !ended.stderr.is_empty() {
            text.push_str("--- standard error\n");
            text.push_str(&ended.stderr);
        }
        text.replace(&self.rig.path().display().to_string(), "RIG").replace(&self.cluster.port.to_string(), "PORT")
    }
}

/// Compares with the kept snapshot; times, ids, sizes and versions are left out of it.
macro_rules! snapshot {
    ($name:expr, $text:expr) => {
        insta::with_settings!({filters => crate::bench::FILTERS.to_vec(), prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!($name, $text);
        });
    };
}
pub(crate) use snapshot;

/// What a snapshot doesn't hold.
pub(crate) const FILTERS: [(&str, &str); 16] = [
    (r"\b\d{18,20}\b", "IDENTIFIER"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d{8}T\d{6}Z", "STAMP"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
    (r#""id": "[a-z2-9]{10}""#, r#""id": "ID""#),
    (r#""[0-9a-f]{64}""#, r#""SHA256""#),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"_(full|schema|globals)_[a-z2-9]{10}", "_${1}_ID"),
    (r"(?m)^(\s*|(?:keep|remove) +|.*pgdumpd (?:show|restore) |backup     |run        )[a-z2-9]{10}\b", "${1}ID"),
    (r"\b[a-z2-9]{10} (\d+ s|\d+ min)( \d+ s)? ago", "ID AGE ago"),
    (r"\d+(\.\d+)? (B|KiB|MiB|GiB)\b", "SIZE"),
    (r"\b(\d+s )?\d+ms\b|\b\d+ s\b", "SPAN"),
    (r#""(size|uncompressed_size|duration|attempts_ms|freed)": \d+"#, r#""${1}": 0"#),
    (r"PostgreSQL 15\.\d+( \([^)]*\))?|pg_dump 15\.\d+( \([^)]*\))?", "VERSION"),
    (r"incident\.[0-9a-f]+@|pgdumpd\.[a-z2-9]{10}@[A-Za-z0-9.-]+", "THREAD@"),
    (r"  +", "  "),
];
