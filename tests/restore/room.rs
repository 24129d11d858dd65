//! Room on the server's disks: it is looked for in the tablespaces that will be filled, and what a full one leaves is named and cleared away.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use pgdumpd::model::project::{Limits, Target};
use pgdumpd::postgres::connection::Access;
use pgdumpd::postgres::session::Session;
use pgdumpd::postgres::version::Clients;
use pgdumpd::process::Cancel;

use crate::cluster::{Cluster, Setup, is_root};
use crate::rig::wait_until;
use crate::scene::{LONG, SHOP, Scene};
use crate::skip::skip;

/// A tablespace on a small disk of its own.
struct Small {
    at: PathBuf,
}

impl Small {
    /// The tablespace `fast` of that server, with so many megabytes.
    fn tablespace(test: &str, cluster: &Cluster, megabytes: u32) -> Option<Self> {
        if !is_root() {
            skip(test, "mounting needs root");
            return None;
        }
        let at = cluster.dir().join("fast");
        std::fs::create_dir(&at).unwrap();
        must(&["mount", "-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0700"), "tmpfs", at.to_str().unwrap()]);
        let small = Self { at };
        must(&["chown", "postgres:postgres", small.at.to_str().unwrap()]);
        cluster.psql(&format!("create tablespace fast location '{}'", small.at.display()));
        Some(small)
    }

    fn resize(&self, megabytes: u32) {
        must(&["mount", "-o", &format!("remount,size={megabytes}m"), self.at.to_str().unwrap()]);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        must(&["umount", "-l", self.at.to_str().unwrap()]);
    }
}

fn must(words: &[&str]) {
    assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{words:?}");
}

/// About twelve megabytes, and seven of the server's own.
const BULKY: &str = "create table orders as select n as id, repeat(md5(n::text), 30) as item from generate_series(1, 12000) n";

fn scratch(scene: &Scene) -> String {
    scene.cluster.psql("select count(*) from pg_database where datname like 'pgdumpd%'")
}

#[test]
fn room_is_looked_for_in_the_tablespace_of_the_target() {
    let test = "room_is_looked_for_in_the_tablespace_of_the_target";
    let scene = Scene::new(BULKY);
    let Some(disk) = Small::tablespace(test, &scene.cluster, 16) else { return };
    scene.cluster.psql("create database tight tablespace fast");
    for more in [&[][..], &["--replace"], &["--in-place", "--no-safety-backup"]] {
        let ended = scene.restore("tight", more);
        assert_eq!(ended.code, 1, "{more:?}: {ended:?}");
        let told = format!("free in {} (tablespace fast), and the database had", disk.at.display());
        assert!(ended.stderr.contains("the server's disk has") && ended.stderr.contains(&told), "{more:?}: {ended:?}");
    }
    assert_eq!(scene.cluster.psql_in("tight", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    assert_eq!(scratch(&scene), "0");
    disk.resize(64);
    scene.restored("tight", &[]);
}

#[test]
fn room_is_looked_for_in_the_tablespaces_of_the_backups_tables() {
    let test = "room_is_looked_for_in_the_tablespaces_of_the_backups_tables";
    let scene = Scene::bare(Setup::default().start(), "select 1");
    let Some(disk) = Small::tablespace(test, &scene.cluster, 64) else { return };
    scene.cluster.psql_in("shop", &BULKY.replace(" as select", " tablespace fast as select"));
    scene.backup();
    disk.resize(16);
    let ended = scene.restore("copy", &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let told = format!("free in {} (tablespace fast), and what goes there takes about", disk.at.display());
    assert!(ended.stderr.contains(&told), "{ended:?}");
    // Where everything goes into the default one, that has it.
    scene.restored("copy", &["--no-tablespaces"]);
    assert_eq!(scene.cluster.psql_in("copy", "select count(*) from orders"), "12000");
    // A setting of the server's stands in for what isn't said then.
    scene.cluster.psql("alter system set default_tablespace = 'fast'");
    scene.cluster.psql("select pg_reload_conf()");
    wait_until(LONG, || String::from("the setting"), || scene.cluster.psql("show default_tablespace") == "fast");
    let ended = scene.restore("other", &["--no-tablespaces"]);
    assert!(ended.code == 1 && ended.stderr.contains("(tablespace fast), and the database had"), "{ended:?}");
    assert_eq!(scratch(&scene), "0");
}

/// What is written in the newest backup's manifest, with one thing put in another's place.
fn falsified(scene: &Scene, from: &str, to: &str) {
    let name = scene.rig.stored().into_iter().filter(|name| name.ends_with(".dump.zst.json")).max().unwrap();
    let path = scene.rig.storage().join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.contains(from)).unwrap();
    std::fs::write(&path, text.replacen(line, to, 1)).unwrap();
}

/// A server writes a checkpoint before it drops a database, and what it has only promised room for then finds none.
#[test]
fn what_has_filled_a_disk_is_dropped_all_the_same() {
    let test = "what_has_filled_a_disk_is_dropped_all_the_same";
    let many = "do $$ begin for i in 1..60 loop execute format('create table o%s as select n as id, repeat(md5(n::text), 30) as item \
                from generate_series(1, 400) n', i); end loop; end $$";
    // With fewer pages the server has to write such ones before it can do anything at all.
    let scene = Scene::bare(Setup::default().setting("shared_buffers = '128MB'").start(), many);
    scene.backup();
    falsified(&scene, "\"database_size_bytes\"", "  \"database_size_bytes\": 1000000,");
    let Some(_disk) = Small::tablespace(test, &scene.cluster, 24) else { return };
    scene.cluster.psql("create database tight tablespace fast");
    let ended = scene.restore("tight", &["--jobs", "2"]);
    assert!(ended.code == 1 && ended.stderr.contains("No space left on device"), "{ended:?}");
    assert!(!ended.stderr.contains("could not be dropped"), "{ended:?}");
    assert_eq!(scene.databases(), ["shop", "tight"]);
}

#[test]
fn what_has_filled_a_disk_to_its_last_byte_goes_all_the_same() {
    let test = "what_has_filled_a_disk_to_its_last_byte_goes_all_the_same";
    let cluster = Cluster::start();
    let Some(disk) = Small::tablespace(test, &cluster, 24) else { return };
    cluster.psql("create database tight tablespace fast");
    cluster.psql_in("tight", "create table parent as select n as id, repeat(md5(n::text), 30) as item from generate_series(1, 4000) n");
    cluster.psql_in("tight", "create table kid () inherits (parent); create view v as select * from parent");
    let full = std::fs::write(disk.at.join("rest"), vec![0; 24 << 20]).expect_err("more than there is room for");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let limits = Limits::default();
    let access = Access::new(&Target::Url(cluster.url("tight")), None, limits.connect, &|_| None).unwrap();
    let clients = Clients::find(None, &|name| std::env::var(name).ok()).unwrap();
    let mut session = Session::open(clients.newest(), &access, Some("tight"), "pgdumpd", &limits, &Cancel::new()).unwrap();
    session.empty_the_largest().unwrap();
    std::fs::write(disk.at.join("more"), vec![0; 1 << 20]).expect("there is room again");
    assert_eq!(cluster.psql_in("tight", "select count(*) from pg_class where relname in ('parent', 'kid', 'v')"), "0");
}

#[test]
fn an_unfinished_database_that_can_not_be_dropped_is_named_and_goes_with_the_next_start() {
    let scene = Scene::new(SHOP);
    let text = format!("[[project]]\nname = \"shop\"\nconnection = {:?}\ndatabases = [\"shop\"]\n", scene.cluster.url(""));
    scene.rig.configure(&format!("{text}limits = {{ retries = [], lock_wait = \"3s\" }}\n"));
    scene.cluster.psql("create table mine (n int)");
    // A session that waits for rows of its client doesn't answer when the server asks all of them.
    let mut command = scene.cluster.psql_command("postgres");
    let command = command.args(["-c", "copy mine from stdin"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut deaf = command.stderr(Stdio::null()).spawn().unwrap();
    let waits = || scene.cluster.psql("select count(*) from pg_stat_activity where state = 'active' and wait_event = 'ClientRead'");
    wait_until(LONG, || String::from("the COPY"), || waits() == "1");
    falsified(&scene, "\"rows\": 500", "      \"rows\": 501,");
    let ended = scene.restore("copy", &[]);
    assert!(ended.code == 1 && ended.stderr.contains("what was restored is not what was backed up"), "{ended:?}");
    let left = scene.cluster.psql("select datname from pg_database where datname like 'pgdumpd%'");
    assert!(ended.stderr.contains(&format!("by hand: drop database \"{left}\"")) && !left.is_empty(), "{left}: {ended:?}");
    deaf.kill().unwrap();
    deaf.wait().unwrap();
    wait_until(LONG, || String::from("the COPY's end"), || waits() == "0");
    let serving = scene.rig.serve();
    wait_until(LONG, || serving.log(), || scratch(&scene) == "0");
}
