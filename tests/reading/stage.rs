//! A server with one database, a pgdumpd beside it, and projects that dump it in different ways.
#![expect(clippy::disallowed_methods, reason = "the programs under test are started from outside of pgdumpd")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::rig::{Ended, Rig};

/// How the projects dump: name, and the keys that make it so.
pub(crate) const WAYS: [(&str, &str); 8] = [
    ("zstd", ""),
    ("gzip", "compression = \"gzip\""),
    ("bzip2", "compression = \"bzip2\""),
    ("none", "compression = \"none\""),
    ("native", "compression = \"native\""),
    ("plain", "format = \"plain\""),
    ("plaingzip", "format = \"plain\"\ncompression = \"gzip\""),
    ("tar", "format = \"tar\"\ncompression = \"zstd\""),
];

/// The server and the rig.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) rig: Rig,
}

impl Stage {
    /// With the database `shop` made by this script, and a project for each of [`WAYS`].
    pub(crate) fn new(script: &str) -> Self {
        let stage = Self { cluster: Cluster::start(), rig: Rig::new() };
        stage.cluster.psql("create database shop");
        stage.cluster.psql_in("shop", script);
        let projects: Vec<String> = WAYS.iter().map(|(name, keys)| stage.project(name, "shop", keys)).collect();
        stage.rig.configure(&projects.concat());
        stage
    }

    pub(crate) fn project(&self, name: &str, database: &str, keys: &str) -> String {
        format!("[[project]]\nname = {name:?}\nconnection = {:?}\nlimits = {{ retries = [] }}\n{keys}\n", self.cluster.url(database))
    }

    /// Backs a project up.
    pub(crate) fn backup(&self, project: &str) {
        self.run(0, &["backup", project]);
    }

    /// Runs and expects this exit code.
    pub(crate) fn run(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.rig.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        ended
    }

    /// A table's rows, as bytes.
    pub(crate) fn cat(&self, backup: &str, table: &str, format: &str) -> Vec<u8> {
        let mut command = self.rig.command();
        let output = command.args(["cat", backup, table, "--format", format]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "cat {backup} {table}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What the server itself writes.
    pub(crate) fn server(&self, sql: &str) -> Vec<u8> {
        let output = self.cluster.psql_command("shop").args(["-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The newest backup's artifact of a project.
    pub(crate) fn artifact(&self, project: &str) -> PathBuf {
        self.rig.storage().join(project).join(self.manifest(project)["backup_file"].as_str().unwrap())
    }

    /// The newest backup's manifest.
    pub(crate) fn manifest(&self, project: &str) -> Value {
        self.run(0, &["show", &format!("{project}@latest"), "--json"]).json()
    }

    /// Rewrites the newest backup's manifest.
    pub(crate) fn forge(&self, project: &str, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest(project);
        let path = format!("{}.json", self.artifact(project).display());
        change(&mut manifest);
        std::fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    }

    /// A client program, connected to a database.
    pub(crate) fn client(&self, program: &str, database: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(crate::cluster::bin().join(program));
        command.env("PGHOST", self.cluster.dir()).env("PGPORT", self.cluster.port.to_string()).env("PGUSER", "postgres");
        let output = command.env("PGDATABASE", database).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}
