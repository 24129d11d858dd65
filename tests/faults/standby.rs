//! Rows 50 and 51: what a standby can't give, or doesn't have any more, must not pass for a backup of now.

use std::time::Duration;

use crate::cluster::{Cluster, Setup};
use crate::rig::{Rig, wait_until};

const LONG: Duration = Duration::from_secs(60);

/// A primary with the database `shop`, its standby, and a project on the standby.
fn pair(project: &str) -> (Cluster, Cluster, Rig) {
    let primary = Cluster::start();
    primary.psql("create database shop");
    primary.psql_in("shop", "create table orders as select generate_series(1, 100) n; create unlogged table cache as select 1 n");
    let standby = Setup::default().standby_of(&primary).start();
    standby.wait_until("exists (select from pg_database where datname = 'shop')");
    let rig = Rig::new();
    rig.configure(&format!(
        "[[project]]\nname = \"shop\"\nconnection = {:?}\nlimits = {{ retries = [] }}\n{project}\n",
        standby.url("shop")
    ));
    (primary, standby, rig)
}

#[test]
fn f50_rows_that_a_standby_does_not_have_are_named() {
    let (primary, _standby, rig) = pair("");
    let ended = rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("unlogged") && ended.stderr.contains("public.cache"), "{ended:?}");
    let manifest = rig.run(&["show", "shop@latest", "--json"]).json();
    assert!(manifest["warnings"].to_string().contains("public.cache"), "{manifest}");
    // On the primary they are dumped, and there is nothing to say.
    rig.configure(&format!("[[project]]\nname = \"shop\"\nconnection = {:?}\n", primary.url("shop")));
    let ended = rig.run(&["backup", "shop"]);
    assert!(ended.code == 0 && !ended.stderr.contains("unlogged"), "{ended:?}");
}

#[test]
fn f51_a_standby_that_stood_still_for_too_long_is_no_backup() {
    let (primary, standby, rig) = pair("max_backup_age = \"2s\"");
    assert_eq!(rig.run(&["backup", "shop"]).code, 0, "it follows its primary, however long that has been idle");
    let before = rig.stored();
    // Replication breaks, and nobody notices: the standby goes on answering, with what it had.
    primary.psql_in("shop", "insert into orders values (0)");
    primary.stop_immediate();
    standby.wait_until("not exists (select from pg_stat_wal_receiver)");
    std::thread::sleep(Duration::from_secs(3));
    let ended = rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("standby") && ended.stderr.contains("behind"), "{ended:?}");
    assert_eq!(rig.stored(), before, "nothing stands under a final name, nothing was pruned");
    assert_eq!(rig.run(&["status"]).code, 1);
    // Less than that is told in the backup.
    let project = format!("[[project]]\nname = \"shop\"\nconnection = {:?}\n", standby.url("shop"));
    rig.configure(&project);
    let ended = rig.run(&["backup", "shop"]);
    assert!(ended.code == 0 && ended.stderr.contains("behind"), "{ended:?}");
    primary.start_again();
    wait_until(
        LONG,
        || String::from("the standby to follow again"),
        || standby.psql("select exists (select from pg_stat_wal_receiver)") == "t",
    );
    let ended = rig.run(&["backup", "shop"]);
    assert!(ended.code == 0 && !ended.stderr.contains("behind"), "{ended:?}");
}

#[test]
fn f51_an_archive_that_stopped_looks_like_an_idle_primary_and_is_refused() {
    let archive = tempfile::tempdir().unwrap();
    std::fs::set_permissions(archive.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let place = archive.path().display();
    let primary = Setup::default().setting("archive_mode = on").setting(format!("archive_command = 'cp %p {place}/%f'")).start();
    primary.psql("create database shop");
    primary.psql_in("shop", "create table orders as select generate_series(1, 100) n");
    let standby = Setup::default().setting(format!("restore_command = 'cp {place}/%f %p'")).standby_of(&primary).start();
    standby.psql("alter system reset primary_conninfo");
    standby.psql("select pg_reload_conf()");
    standby.wait_until("not exists (select from pg_stat_wal_receiver)");
    let rig = Rig::new();
    let configure = |project: &str| {
        let connection = standby.url("shop");
        rig.configure(&format!("[[project]]\nname = \"shop\"\nconnection = {connection:?}\nlimits = {{ retries = [] }}\n{project}\n"));
    };
    configure("max_backup_age = \"2s\"");
    std::thread::sleep(Duration::from_secs(3));
    let ended = rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("fed from an archive") && ended.stderr.contains("select txid_current()"), "{ended:?}");
    assert!(rig.stored().is_empty(), "{:?}", rig.stored());
    // As the hint has it: a commit that comes through the archive shows that it goes on.
    configure("max_backup_age = \"60s\"");
    let commit = primary.psql("select txid_current()");
    primary.psql("select pg_switch_wal()");
    standby.wait_until(&format!(
        "clock_timestamp() - pg_last_xact_replay_timestamp() < '30s' and txid_snapshot_xmax(txid_current_snapshot()) > {commit}"
    ));
    let ended = rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}
