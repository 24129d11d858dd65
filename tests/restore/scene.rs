//! The stage: a cluster with a database and a rig whose project backs it up; and fingerprints, by which two databases are compared.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Setup};
use crate::rig::{Ended, Rig};

/// A bound for slow machines.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A database worth restoring.
pub(crate) const SHOP: &str = "
    create table customer (id int primary key, name text);
    create table orders (id serial primary key, customer int references customer, total numeric);
    create index on orders (total);
    insert into customer select i, 'customer ' || i from generate_series(1, 50) i;
    insert into orders (customer, total) select 1 + i % 50, i from generate_series(1, 500) i";

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) rig: Rig,
    url: String,
}

impl Scene {
    /// The database `shop`, made by this SQL, and one backup of it.
    pub(crate) fn new(sql: &str) -> Self {
        let scene = Self::bare(Setup::default().start(), sql);
        scene.backup();
        scene
    }

    pub(crate) fn bare(cluster: Cluster, sql: &str) -> Self {
        cluster.psql("create database shop");
        cluster.psql_in("shop", sql);
        let url = cluster.url("");
        let scene = Self { cluster, rig: Rig::new(), url };
        scene.configure("");
        scene
    }

    /// Writes the configuration with further lines for the project.
    pub(crate) fn configure(&self, project: &str) {
        let mut text = String::new();
        writeln!(text, "[[project]]\nname = \"shop\"\nconnection = {:?}\ndatabases = [\"shop\"]", self.url).unwrap();
        writeln!(text, "limits = {{ retries = [] }}\n{project}").unwrap();
        self.rig.configure(&text);
    }

    pub(crate) fn backup(&self) {
        let ended = self.rig.run(&["backup", "shop"]);
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    /// `restore shop@latest --to TO …`
    pub(crate) fn restore(&self, to: &str, more: &[&str]) -> Ended {
        self.rig.run(&[&["restore", "shop@latest", "--to", to], more].concat())
    }

    pub(crate) fn restored(&self, to: &str, more: &[&str]) -> Ended {
        let ended = self.restore(to, more);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    /// Starts one that is going to take long; dropping it kills it.
    pub(crate) fn start(&self, to: &str, more: &[&str]) -> Running {
        let mut command = self.rig.command();
        command.args(["restore", "shop@latest", "--to", to]).args(more);
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// The databases but the server's own, in order.
    pub(crate) fn databases(&self) -> Vec<String> {
        let names = self.cluster.psql("select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1");
        names.lines().map(str::to_owned).collect()
    }

    /// What the audit log says of restores, newest first.
    pub(crate) fn audit(&self) -> Vec<String> {
        let catalog = rusqlite::Connection::open(self.rig.state().join("catalog.db")).unwrap();
        let mut asked =
            catalog.prepare("select subject || ' -> ' || outcome from audit where action = 'restore' order by rowid desc").unwrap();
        asked.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Everything of a database: its definitions as `pg_dump` writes them, the rows of each table, sequences and large objects.
    pub(crate) fn fingerprint(&self, database: &str) -> String {
        let conninfo = format!(
            "dbname='{}' host=127.0.0.1 port={} user=postgres",
            database.replace('\\', "\\\\").replace('\'', "\\'"),
            self.cluster.port
        );
        let schema = Command::new(crate::cluster::bin().join("pg_dump")).args(["-s", "-d", &conninfo]).output().unwrap();
        assert!(schema.status.success(), "{}", String::from_utf8_lossy(&schema.stderr));
        let schema = String::from_utf8_lossy(&schema.stdout).into_owned();
        let lines =
            schema.lines().filter(|line| !line.starts_with("--") && !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        let mut text = lines.filter(|line| !line.is_empty()).fold(String::new(), |text, line| text + line + "\n");
        // The statements are made and run by the server itself: a hostile name may hold a line break.
        text += &self.cluster.psql_in(
            database,
            "do $$ declare r record; h text; begin
               create temp table hashes (name text, hash text);
               for r in select c.oid, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where c.relkind in ('r', 'm') and c.relispopulated and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' loop
                 execute format('select count(*) || md5(coalesce(string_agg(t::text, E''\\n'' order by t::text), '''')) from only %I.%I t', r.nspname, r.relname) into h;
                 insert into hashes values (r.nspname || '.' || r.relname, h);
               end loop; end $$;
             select string_agg(name || ' ' || hash, E'\\n' order by name) from hashes",
        );
        text += &self.cluster.psql_in(
            database,
            "select coalesce(string_agg(schemaname || '.' || sequencename || ' ' || coalesce(last_value, -1), E'\\n' order by schemaname, sequencename), '') from pg_sequences",
        );
        text += &self.cluster.psql_in(
            database,
            "select coalesce(string_agg(oid || ' ' || md5(lo_get(oid)), E'\\n' order by oid), '') from pg_largeobject_metadata",
        );
        text
    }
}

/// A restore at work.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap().success());
    }

    /// The exit code, or -1 for a signal.
    pub(crate) fn wait(&mut self) -> i32 {
        let until = Instant::now() + LONG;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < until, "the restore did not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
