//! The stage: a server with the database `shop`, a rig around the binary, a mail server; and files that can be spoilt.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::rig::{Ended, Rig};
use crate::smtp::{Script, Server};

/// As long as anything may take on a slow and busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// Everything of one test.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) rig: Rig,
    pub(crate) mail: Server,
}

impl Stage {
    /// A database with a few tables, and a project `shop` with these further lines.
    pub(crate) fn new(project: &str) -> Self {
        let cluster = Cluster::start();
        cluster.psql("create database shop");
        cluster.psql_in(
            "shop",
            "create table item (n int primary key, name text); insert into item select i, 'item ' || i from generate_series(1, 500) i;
             create table empty (n int); select lo_from_bytea(4711, 'large')",
        );
        let mut rig = Rig::new();
        // As root the clusters of drills stand here, where their user can reach them.
        let scratch = rig.path().join("tmp");
        std::fs::create_dir(&scratch).unwrap();
        std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o1777)).unwrap();
        rig.env.push((String::from("TMPDIR"), scratch.display().to_string()));
        let stage = Self { cluster, rig, mail: Server::start(Script::default()) };
        stage.configure(project);
        stage
    }

    /// Writes the configuration, with these lines in the project.
    pub(crate) fn configure(&self, project: &str) {
        self.configure_with("", "[]", project);
    }

    /// The same with lines for `[daemon]` and other waits between tries.
    pub(crate) fn configure_with(&self, daemon: &str, retries: &str, project: &str) {
        let port = self.mail.address.port();
        let text = format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"pgdumpd@example.org\"\nto = [\"oncall@example.org\"]\n\
             [[project]]\nname = \"shop\"\nconnection = {:?}\nlimits = {{ retries = {retries} }}\n{project}\n",
            self.cluster.url("shop")
        );
        self.rig.configure_with(daemon, &text);
    }

    /// What the folders of drills begin with.
    pub(crate) fn scratch(&self) -> String {
        let place = if crate::cluster::is_root() { self.rig.path().join("tmp") } else { self.rig.state().join("scratch") };
        place.join("pgdumpd-drill-").display().to_string()
    }

    /// A backup that must work; its id.
    pub(crate) fn backup(&self) -> String {
        let ended = self.rig.run(&["backup", "shop", "--json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()["runs"][0]["run"]["id"].as_str().unwrap().to_owned()
    }

    /// The backup's row as `list` tells it.
    pub(crate) fn row(&self, id: &str) -> Value {
        self.rig.backups().into_iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no backup {id}"))
    }

    /// Its stored file.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.rig.storage().join("shop").join(self.row(id)["file"].as_str().unwrap())
    }

    /// Its proof, as it lies beside it.
    pub(crate) fn proof(&self, id: &str) -> Option<Value> {
        let text = std::fs::read_to_string(format!("{}.proof.json", self.file(id).display())).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Flips one bit in the middle of its file; the second time it puts it right again.
    pub(crate) fn flip(&self, id: &str) {
        let mut bytes = std::fs::read(self.file(id)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(self.file(id), bytes).unwrap();
    }

    /// How many slots of a schedule ended so, as the diary tells.
    pub(crate) fn slots(&self, schedule: &str, outcome: &str) -> i64 {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let catalog = rusqlite::Connection::open_with_flags(self.rig.state().join("catalog.db"), flags).unwrap();
        catalog.busy_timeout(Duration::from_secs(30)).unwrap();
        let sql = "select count(*) from slots where schedule = ?1 and outcome = ?2";
        catalog.query_row(sql, [schedule, outcome], |row| row.get(0)).unwrap()
    }

    /// Runs a command that must end with this code.
    pub(crate) fn run(&self, words: &[&str], code: i32) -> Ended {
        let ended = self.rig.run(words);
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        ended
    }

    /// The mails so far whose subject holds these words.
    pub(crate) fn mails(&self, subject: &str) -> Vec<String> {
        let has = |mail: &str| mail.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").contains(subject);
        // Long lines are joined again as a mail program would.
        let read = |mail: &String| mail.replace("\r\n", "\n").replace("=\n", "");
        self.mail.look(|seen| seen.mails.iter().map(|(_, mail)| read(mail)).filter(|mail| has(mail)).collect())
    }
}
