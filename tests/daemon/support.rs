//! What the daemon's tests share: a place with a server and scripted clients, the catalog read from outside, a clock that can be set.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::rig::{Rig, Serving, wait_until};

/// As long as anything may take on a slow and busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A rig, and a server to dump.
pub(crate) struct Place {
    pub(crate) rig: Rig,
    pub(crate) cluster: Cluster,
}

/// One row of the slot diary; times in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) project: String,
    pub(crate) schedule: String,
    pub(crate) due: i64,
    pub(crate) until: Option<i64>,
    pub(crate) count: u32,
    pub(crate) recorded: i64,
    pub(crate) outcome: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { rig: Rig::new(), cluster: Cluster::start() }
    }

    /// A project on this server; `more` is TOML below it, its schedules included.
    pub(crate) fn project(&self, name: &str, more: &str) -> String {
        format!("[[project]]\nname = {name:?}\nconnection = {:?}\n{more}\n", self.cluster.url("postgres"))
    }

    /// Clients whose `pg_dump` waits as long as [`Place::hold`] says, and notes its beginning and end; the key that chooses them.
    pub(crate) fn held_clients(&self) -> String {
        let at = self.rig.path().display();
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' --version '*) exec /usr/lib/postgresql/15/bin/pg_dump --version;; esac\necho + >>{at}/dumps\n\
             while [ -e {at}/hold ]; do sleep 0.1; done\n/usr/lib/postgresql/15/bin/pg_dump \"$@\"\ncode=$?\necho - >>{at}/dumps\nexit $code\n"
        );
        format!("pg_bin_dir = {:?}", self.rig.clients(&[("pg_dump", &script)]))
    }

    pub(crate) fn hold(&self) {
        std::fs::write(self.rig.path().join("hold"), "").expect("hold");
    }

    pub(crate) fn release(&self) {
        std::fs::remove_file(self.rig.path().join("hold")).expect("release");
    }
}

/// How many dumps there ever were at once, by the notes of scripted clients.
pub(crate) fn most_at_once(rig: &Rig, file: &str) -> usize {
    let notes = std::fs::read_to_string(rig.path().join(file)).unwrap_or_default();
    let (mut now, mut most) = (0_usize, 0);
    for line in notes.lines() {
        now = if line.starts_with('+') { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

fn catalog(rig: &Rig) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(rig.state().join("catalog.db"), flags).expect("the catalog opens");
    connection.busy_timeout(Duration::from_secs(30)).expect("timeout");
    connection
}

/// Whether the daemon has made its catalog yet.
fn is_there(rig: &Rig) -> bool {
    rig.state().join("catalog.db").exists()
}

/// All rows of the slot diary, the oldest first.
pub(crate) fn slots(rig: &Rig) -> Vec<Slot> {
    if !is_there(rig) {
        return Vec::new();
    }
    let connection = catalog(rig);
    let sql = "SELECT project, schedule, due_at, until, count, recorded_at, outcome FROM slots ORDER BY due_at, project, schedule";
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let slot = |row: &rusqlite::Row<'_>| {
        Ok(Slot {
            project: row.get(0)?,
            schedule: row.get(1)?,
            due: row.get(2)?,
            until: row.get(3)?,
            count: row.get(4)?,
            recorded: row.get(5)?,
            outcome: row.get(6)?,
        })
    };
    statement.query_map([], slot).expect("slots").collect::<Result<_, _>>().expect("slots")
}

/// How many slots of a project ended so.
pub(crate) fn ended(rig: &Rig, project: &str, outcome: &str) -> usize {
    slots(rig).iter().filter(|slot| slot.project == project && slot.outcome == outcome).count()
}

/// The messages of the outbox in the order in which they were written, each with `state` and `error`.
pub(crate) fn outbox(rig: &Rig) -> Vec<Value> {
    if !is_there(rig) {
        return Vec::new();
    }
    let connection = catalog(rig);
    let Ok(mut statement) = connection.prepare("SELECT message, state, error, attempts FROM outbox ORDER BY id") else { return Vec::new() };
    let message = |row: &rusqlite::Row<'_>| {
        let mut message: Value = serde_json::from_str(&row.get::<_, String>(0)?).expect("a message");
        message["state"] = Value::from(row.get::<_, String>(1)?);
        message["error"] = Value::from(row.get::<_, Option<String>>(2)?);
        message["attempts"] = Value::from(row.get::<_, u32>(3)?);
        Ok(message)
    };
    statement.query_map([], message).expect("outbox").collect::<Result<_, _>>().expect("outbox")
}

/// The events of the outbox's messages: `failing`, `recovered`.
pub(crate) fn events(rig: &Rig) -> Vec<String> {
    outbox(rig).iter().map(|message| message["event"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Mail settings that lead nowhere: every message stays in the outbox.
pub(crate) const NO_MAIL: &str =
    "[smtp]\nhost = \"127.0.0.1\"\nport = 9\nsecurity = \"none\"\nfrom = \"p@example.org\"\nto = [\"oncall@example.org\"]\n";

/// Waits for something to become so, with the daemon's log where it doesn't.
pub(crate) fn until(serving: &Serving, what: &str, so: impl Fn() -> bool) {
    wait_until(LONG, || format!("{what}; the log:\n{}", serving.log()), so);
}

/// A wall clock for a process and its own: set by writing a file, the steady clock untouched.
pub(crate) struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// `at` as libfaketime reads it: `+0`, `+365d`, `@2026-11-21 02:50:00` (which goes on from there).
    pub(crate) fn new(rig: &Rig, at: &str) -> Self {
        let clock = Self { file: rig.path().join("clock") };
        clock.set(at);
        clock
    }

    pub(crate) fn set(&self, at: &str) {
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, format!("{at}\n")).expect("the clock's file");
        std::fs::rename(draft, &self.file).expect("the clock's file");
    }

    /// The binary under this clock.
    pub(crate) fn command(&self, rig: &Rig) -> Command {
        let mut command = rig.command();
        let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        command
    }
}

/// Seconds since 1970 on this machine's clock.
pub(crate) fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as i64
}
