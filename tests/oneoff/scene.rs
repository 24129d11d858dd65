//! A cluster with the database `shop`, and the binary's surroundings.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::rig::{Ended, Rig};

/// A bound for slow machines.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The folder of the real clients.
pub(crate) fn clients() -> String {
    crate::cluster::bin().display().to_string()
}

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) rig: Rig,
}

impl Scene {
    /// Two tables, one of them large enough for several frames' worth of rows, an index, a view, and three large objects.
    pub(crate) fn new() -> Self {
        let scene = Self { cluster: Cluster::start(), rig: Rig::new() };
        scene.cluster.psql("create database shop");
        scene.cluster.psql_in(
            "shop",
            "create table item (n int primary key, name text); insert into item select i, 'item ' || i from generate_series(1, 500) i;
             create table \"Größe; x\" as select i, md5(i::text) as a from generate_series(1, 20000) i;
             create view dear as select * from item where n > 400;
             select lo_from_bytea(0, convert_to('blob ' || i, 'UTF8')) from generate_series(1, 3) i",
        );
        scene
    }

    /// Writes a configuration whose project `shop` has these further lines.
    pub(crate) fn configure(&self, project: &str) {
        self.rig.configure(&format!(
            "[[project]]\nname = \"shop\"\nconnection = \"{}\"\nlimits = {{ retries = [] }}\n{project}\n",
            self.cluster.url("shop")
        ));
    }

    /// The manifest of a listed backup.
    pub(crate) fn manifest(&self, backup: &Value) -> Value {
        let file = backup["file"].as_str().unwrap();
        let path = self.rig.storage().join("shop").join(format!("{file}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// What is in a database, as text to be compared.
    pub(crate) fn contents(&self, database: &str) -> String {
        self.cluster.psql_in(
            database,
            "select (select count(*) || md5(string_agg(n || name, ',' order by n)) from item)
               || (select count(*) || md5(string_agg(i || a, ',' order by i)) from \"Größe; x\")
               || (select count(*) from dear)
               || (select string_agg(convert_from(lo_get(oid), 'UTF8'), ',' order by oid) from pg_largeobject_metadata)
               || (select string_agg(indexdef, ',') from pg_indexes where schemaname = 'public')",
        )
    }

    /// Types a backup's restore line in its folder, into a new database.
    pub(crate) fn restore(&self, folder: &Path, line: &str, database: &str) {
        self.cluster.psql(&format!("create database {database}"));
        let connection = format!("'{}'", self.cluster.url(database));
        let line = line.replace("NEW_DATABASE", &connection).replace("NEW_FOLDER", &self.rig.path().join("unpacked").display().to_string());
        let path = format!("{}:/usr/bin:/bin", clients());
        let done = Command::new("sh").args(["-c", &line]).env("PATH", path).current_dir(folder).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{line}: {done:?}");
    }

    /// Runs the binary with variables of one's own and no configuration to be found.
    pub(crate) fn alone(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let output = self.alone_command(variables).args(arguments).stdin(Stdio::null()).output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, to be started by the test. What this machine's own service has written down is none of its business.
    pub(crate) fn alone_command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = self.rig.command();
        command.env_remove("PGDUMPD_CONFIG").env("PGDUMPD_DAEMON_STATE_DIR", self.rig.path().join("nothing-kept"));
        command.envs(variables.iter().copied()).current_dir(self.work());
        command
    }

    /// An empty folder to work in.
    pub(crate) fn work(&self) -> PathBuf {
        let here = self.rig.path().join("here");
        drop(std::fs::create_dir(&here));
        here
    }
}
