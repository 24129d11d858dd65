//! Targets whose transactions are read-only: refused before anything is touched where that is what fills them, and carried over where it isn't.

use crate::rig::Ended;
use crate::scene::{SHOP, Scene};

const SETTING: &str = "default_transaction_read_only";

const MERGE: [&str; 4] = ["--table", "orders", "--on-conflict", "skip"];

fn refused(scene: &Scene, to: &str, more: &[&str], words: &[&str]) -> Ended {
    let ended = scene.restore(to, more);
    assert_eq!(ended.code, 1, "{to} {more:?}: {ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{to} {more:?}: {word}: {ended:?}");
    }
    if !more.contains(&"--dry-run") || more.contains(&"skip") {
        assert!(scene.audit()[0].contains("-> refused: sessions of the role"), "{:?}", scene.audit());
    }
    assert_eq!(scene.databases(), ["empty", "shop"]);
    assert_eq!(scene.rig.backups().len(), 1, "not even a backup of what is there was begun");
    ended
}

#[test]
fn a_target_that_can_not_be_written_to_is_refused_before_anything_is_touched() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database empty");
    let in_place = ["--in-place"];
    let merge = [&MERGE[..], &["--dry-run"]].concat();
    for (to, more) in [("empty", &[][..]), ("empty", &["--dry-run"]), ("shop", &in_place), ("shop", &MERGE), ("shop", &merge)] {
        scene.cluster.psql(&format!("alter database {to} set {SETTING} = on"));
        let by = format!("in the database \"{to}\" are read-only: {SETTING} is on, set by ALTER DATABASE \"{to}\"");
        let ended = refused(&scene, to, more, &[&by]);
        let undone = format!("BEGIN READ WRITE; ALTER DATABASE \"{to}\" RESET {SETTING}; COMMIT;");
        assert!(ended.stderr.contains(&undone), "{ended:?}");
        assert_eq!(ended.stderr.contains("--replace"), !more.contains(&"skip"), "{ended:?}");
        // What it says to type is typed as it stands, in that very database.
        scene.cluster.psql_in(to, &undone);
    }
    scene.cluster.psql("create role clerk login superuser");
    scene.cluster.psql(&format!("alter role clerk set {SETTING} = on"));
    for (to, more) in [("new", &[][..]), ("empty", &[]), ("shop", &["--replace"]), ("shop", &in_place), ("shop", &MERGE)] {
        refused(&scene, to, &[more, &["--user", "clerk"]].concat(), &["set by ALTER ROLE \"clerk\"", "as another role with --user; or "]);
    }
    scene.cluster.psql(&format!("alter role clerk reset {SETTING}; alter role clerk in database shop set {SETTING} = on"));
    refused(&scene, "shop", &["--in-place", "--user", "clerk"], &["set by ALTER ROLE \"clerk\" IN DATABASE \"shop\""]);
    let by_options = format!("{}?options=-c%20{SETTING}%3Don", scene.cluster.url("empty"));
    refused(&scene, &by_options, &[], &["set by the options of the connection"]);
    scene.cluster.psql(&format!("alter role all set {SETTING} = on"));
    refused(&scene, "new", &[], &["set by ALTER ROLE ALL"]);
    scene.cluster.psql(&format!("begin read write; alter role all reset {SETTING}; commit"));
    scene.cluster.psql(&format!("alter system set {SETTING} = on"));
    scene.cluster.psql("select pg_reload_conf()");
    scene.cluster.wait_until(&format!("current_setting('{SETTING}') = 'on'"));
    for (to, more) in [("new", &[][..]), ("empty", &[]), ("shop", &in_place), ("shop", &MERGE)] {
        refused(&scene, to, more, &["set by ALTER SYSTEM (", &format!("ALTER SYSTEM RESET {SETTING}; SELECT pg_reload_conf();")]);
    }
    scene.cluster.psql(&format!("alter system reset {SETTING}"));
    scene.cluster.psql("select pg_reload_conf()");
    scene.cluster.wait_until(&format!("current_setting('{SETTING}') = 'off'"));
    scene.restored("empty", &[]);
    assert_eq!(scene.fingerprint("empty"), scene.fingerprint("shop"));
}

#[test]
fn a_read_only_database_is_replaced_and_made_anew_and_is_read_only_again() {
    let scene = Scene::bare(crate::cluster::Setup::default().start(), SHOP);
    scene.cluster.psql("create role app; alter role app in database shop set work_mem = '5MB'");
    scene.cluster.psql(&format!("alter database shop set {SETTING} = on"));
    // From there the server is asked and databases are made: it says nothing of other ones.
    scene.cluster.psql(&format!("alter database postgres set {SETTING} = on"));
    scene.backup();
    let settings = |database: &str| {
        scene.cluster.psql(&format!(
            "select string_agg(coalesce(r.rolname, '') || ':' || s.setconfig::text, ' ' order by r.rolname) from pg_db_role_setting s
             join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole where d.datname = '{database}'"
        ))
    };
    let before = settings("shop");
    assert!(before.contains(SETTING) && before.contains("app:{work_mem=5MB}"), "{before}");
    for (to, more) in [("copy", &[][..]), ("shop", &["--replace", "--drop-old"]), ("copy", &["--replace", "--drop-old", "--jobs", "2"])] {
        let ended = scene.restored(to, more);
        assert_eq!(ended.stderr, "", "{to} {more:?}");
        assert_eq!(settings(to), before, "{to} {more:?}");
        assert_eq!(scene.cluster.psql_in(to, "select count(*) || current_setting('transaction_read_only') from orders"), "500on");
        assert_eq!(scene.cluster.psql_in(to, "select count(*) from pg_stats where tablename = 'orders'"), "3", "analysed");
    }
    assert_eq!(scene.databases(), ["copy", "shop"]);
}

#[test]
fn a_standby_is_refused_by_restores_and_merges() {
    let scene = Scene::new(SHOP);
    let standby = crate::cluster::Setup::default().standby_of(&scene.cluster).start();
    standby.wait_until("pg_is_in_recovery() and exists (select from pg_database where datname = 'shop')");
    for (database, more) in [("new", &[][..]), ("shop", &["--replace"]), ("shop", &["--in-place"]), ("shop", &MERGE)] {
        let ended = scene.restore(&standby.url(database), more);
        assert!(ended.code == 1 && ended.stderr.contains(" is a standby"), "{database} {more:?}: {ended:?}");
        assert!(ended.stderr.contains("primary"), "{database} {more:?}: {ended:?}");
    }
}
