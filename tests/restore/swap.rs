//! A backup put in the place of a database: everything its applications see of it stays, and they see one or the other.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::scene::{Running, SHOP, Scene};

/// What `pg_dump` without `--create` doesn't bring, as text.
const ABOUT: &str = "select json_build_object('owner', pg_get_userbyid(datdba), 'acl', datacl::text, 'limit', datconnlimit,
    'comment', shobj_description(oid, 'pg_database'),
    'settings', (select json_agg(json_build_array(setrole::regrole::text, setconfig) order by setrole::regrole::text)
       from pg_db_role_setting where setdatabase = d.oid)) from pg_database d where datname = ";

#[test]
fn owner_privileges_settings_limit_and_comment_are_carried_over() {
    let scene = Scene::new(SHOP);
    for sql in [
        "create role boss",
        "create role \"we\"\"ird role\"",
        "alter database shop owner to boss",
        "revoke all on database shop from public",
        "grant connect on database shop to \"we\"\"ird role\" with grant option",
        "alter database shop connection limit 33",
        "alter database shop set search_path = \"$user\", public, 'a, b'",
        "alter database shop set work_mem = '7MB'",
        "alter role boss in database shop set my.setting = 'it''s'",
        "comment on database shop is 'the ''real'' shop'",
    ] {
        scene.cluster.psql(sql);
    }
    let about = |name: &str| scene.cluster.psql(&format!("{ABOUT}'{name}'"));
    let (before, was) = (about("shop"), scene.fingerprint("shop"));
    scene.cluster.psql_in("shop", "delete from orders; create table mistake (x int)");
    let ended = scene.restored("shop", &["--replace"]);
    assert_eq!(about("shop"), before);
    assert_eq!(scene.fingerprint("shop"), was);
    let kept = scene.databases().into_iter().find(|name| name.starts_with("shop_before_2")).expect("the old one is kept");
    assert!(ended.stdout.contains(&kept), "{ended:?}");
    assert_eq!(scene.cluster.psql_in(&kept, "select count(*) from orders"), "0");
    assert_eq!(scene.databases().len(), 2);
}

#[test]
fn a_database_that_lets_nobody_in_is_replaced_by_one_that_does_not_either() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("alter database shop allow_connections false");
    scene.restored("shop", &["--replace"]);
    assert_eq!(scene.cluster.psql("select string_agg(datallowconn::text, ' ') from pg_database where datname like 'shop%'"), "false false");
    scene.cluster.psql("alter database shop allow_connections true");
    assert_eq!(scene.cluster.psql_in("shop", "select count(*) from orders"), "500");
}

#[test]
fn the_old_one_is_dropped_where_that_is_said() {
    let scene = Scene::new(SHOP);
    scene.restored("shop", &["--replace", "--drop-old"]);
    assert_eq!(scene.databases(), ["shop"]);
}

/// The name under which the old one would be kept belongs to another database: nothing changes its name, and that other one is not dropped.
#[test]
fn a_name_that_is_taken_is_no_sign_that_the_old_one_was_kept() {
    let slow = "create function slow(n int) returns int language plpgsql immutable as 'begin perform pg_sleep(0.01); return n; end';
                create index on orders (slow(id))";
    let scene = Scene::new(&format!("{SHOP}; {slow}"));
    let oid = || scene.cluster.psql("select oid from pg_database where datname = 'shop'");
    let before = oid();
    let mut running = scene.start("shop", &["--replace", "--drop-old"]);
    scene.cluster.wait_until("count(*) > 0 from pg_database where datname like 'pgdumpd\\_restore\\_%'");
    let planned = chrono::Utc::now();
    let taken: Vec<String> =
        (0..8).rev().map(|second| (planned - chrono::TimeDelta::seconds(second)).format("shop_before_%Y%m%dT%H%M%S").to_string()).collect();
    for name in &taken {
        scene.cluster.psql(&format!("create database \"{name}\""));
    }
    assert_ne!(running.wait(), 0);
    assert!(scene.audit()[0].contains("already exists"), "{:?}", scene.audit());
    assert_eq!(oid(), before);
    assert_eq!(scene.databases(), [vec![String::from("shop")], taken].concat());
}

/// The server has committed the names and can't say so any more: its session waits for a standby that isn't there, and is ended. What came
/// before in that session goes on, as a wait that is cancelled leaves a transaction committed.
fn ended_at_the_commit(scene: &Scene, running: &mut Running) -> i32 {
    scene.cluster.wait_until("count(*) > 0 from pg_stat_activity where datname like 'pgdumpd\\_restore\\_%'");
    scene.cluster.psql("alter system set synchronous_standby_names = 'nobody'");
    scene.cluster.psql("alter system set synchronous_commit = on");
    scene.cluster.psql("select pg_reload_conf()");
    let last = "query ~ '^commit'";
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep' and (";
    while scene.cluster.psql(&format!("{ended}{last})")) == "0" {
        assert!(std::time::Instant::now() < until, "no session waited to give the names");
        let passed = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and not (";
        scene.cluster.psql(&format!("{passed}{last})"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let code = running.wait();
    scene.cluster.psql("alter system reset all");
    scene.cluster.psql("select pg_reload_conf()");
    code
}

#[test]
fn a_connection_that_breaks_when_the_names_are_given_undoes_nothing() {
    let slow = "create function slow(n int) returns int language plpgsql immutable as 'begin perform pg_sleep(0.01); return n; end';
                create index on orders (slow(id))";
    let scene = Scene::new(&format!("{SHOP}; {slow}"));
    let was = scene.fingerprint("shop");
    let code = ended_at_the_commit(&scene, &mut scene.start("fresh", &[]));
    assert_eq!((code, scene.fingerprint("fresh") == was), (0, true), "{:?}", scene.audit());
    scene.cluster.psql_in("shop", "delete from orders");
    let code = ended_at_the_commit(&scene, &mut scene.start("shop", &["--replace"]));
    assert_eq!((code, scene.fingerprint("shop") == was), (0, true), "{:?}", scene.audit());
    assert_eq!(scene.databases().len(), 3, "{:?}", scene.databases());
}

#[test]
fn a_part_drops_no_whole_database() {
    let scene = Scene::new(SHOP);
    let before = scene.fingerprint("shop");
    for (content, selection) in [("content = \"schema\"", "(schema)"), ("tables = [\"orders\"]", "orders")] {
        scene.configure(content);
        scene.backup();
        let id = scene.rig.backups()[0]["id"].as_str().unwrap().to_owned();
        let restore = |more: &[&str]| scene.rig.run(&[&["restore", &id, "--to", "shop", "--replace"], more].concat());
        let ended = restore(&["--drop-old"]);
        assert!(ended.code == 2 && ended.stderr.contains(selection) && ended.stderr.contains("leave out --drop-old"), "{ended:?}");
        assert_eq!(scene.fingerprint("shop"), before, "{content}");
    }
    assert_eq!(scene.databases(), ["shop"]);
    let ended = scene.rig.run(&["restore", scene.rig.backups()[1]["id"].as_str().unwrap(), "--to", "shop", "--replace"]);
    assert!(ended.code == 0 && ended.stdout.contains("the old database is kept as shop_before_2"), "{ended:?}");
}

#[test]
fn applications_see_the_old_database_or_the_whole_new_one() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql_in("shop", "delete from orders");
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watching: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    while !over.load(Ordering::SeqCst) {
                        let asked = scene.cluster.psql_command("shop").args(["-c", "select count(*) from orders"]).output().unwrap();
                        if asked.status.success() {
                            seen.push(String::from_utf8_lossy(&asked.stdout).trim().to_owned());
                        }
                    }
                    seen
                })
            })
            .collect();
        scene.restored("shop", &["--replace"]);
        std::thread::sleep(std::time::Duration::from_millis(300));
        over.store(true, Ordering::SeqCst);
        watching.into_iter().map(|watch| watch.join().unwrap()).collect::<Vec<_>>()
    });
    for mut one in seen {
        assert!(one.iter().all(|rows| rows == "0" || rows == "500"), "{one:?}");
        assert_eq!(one.last().map(String::as_str), Some("500"));
        one.dedup();
        assert!(one.len() <= 2, "never back to the old one: {one:?}");
    }
}

#[test]
fn in_place_everything_is_made_again_after_a_backup_of_what_was_there() {
    let scene = Scene::new(SHOP);
    let was = scene.fingerprint("shop");
    let oid = || scene.cluster.psql("select oid from pg_database where datname = 'shop'");
    let before = oid();
    scene.cluster.psql_in("shop", "delete from orders; update customer set name = 'x'");
    let name = scene.rig.backups()[0]["id"].as_str().unwrap().to_owned();
    let ended = scene.rig.run(&["restore", &name, "--to", "shop", "--in-place"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(scene.fingerprint("shop"), was);
    assert_eq!(oid(), before, "it is the very same database");
    assert_eq!(scene.rig.backups().len(), 2, "what was there was backed up first");
    let kept = ended.stdout.lines().find_map(|line| line.trim().strip_prefix("what was there is kept as backup ")).expect("its id");
    let ended = scene.rig.run(&["restore", kept, "--to", "undone"]);
    assert!(ended.code == 0 && ended.stdout.contains(" 50 rows"), "{ended:?}");
}

#[test]
fn a_backup_of_what_was_overwritten_elsewhere_is_not_the_projects_latest() {
    let scene = Scene::new(SHOP);
    scene.restored("copy", &[]);
    scene.cluster.psql_in("copy", "delete from orders");
    scene.restored("copy", &["--in-place"]);
    assert_eq!(scene.rig.backups().len(), 2, "what was there was backed up first");
    let ended = scene.restored("again", &[]);
    assert!(ended.stdout.contains("550 rows"), "{ended:?}");
    let shown = scene.rig.run(&["show", "shop@latest", "--json"]).json();
    assert_eq!(shown["database_name"], "shop");
}

/// Keys of partitions on two levels, and a foreign key to them.
const PARTED: &str = "
    create table parent (id int, k int, v text, primary key (id, k), unique (id, k, v)) partition by range (id);
    create table low partition of parent for values from (0) to (100) partition by range (k);
    create table low_one partition of low for values from (0) to (10);
    create table rest partition of parent default;
    create index on parent (v);
    create unique index own on low_one (v, id);
    create table child (id int, k int, foreign key (id, k) references parent);
    create view usual as select id, k, v from parent group by id, k;
    insert into parent select i, 1, 'x' || i from generate_series(1, 300) i;
    insert into child values (1, 1), (250, 1)";

#[test]
fn in_place_partitions_with_keys_are_made_again_too() {
    for format in ["custom", "tar", "directory"] {
        let scene = Scene::bare(crate::cluster::Setup::default().start(), PARTED);
        scene.configure(&format!("format = {format:?}"));
        scene.backup();
        let was = scene.fingerprint("shop");
        scene.cluster.psql_in("shop", "delete from child; delete from parent where id > 10");
        scene.restored("shop", &["--in-place"]);
        assert_eq!(scene.fingerprint("shop"), was, "{format}");
    }
}

#[test]
fn a_new_database_gets_them_from_the_backup_when_the_server_is_lost() {
    let scene = Scene::new(SHOP);
    for sql in [
        "create role boss",
        "create role reader",
        "alter database shop owner to boss",
        "revoke all on database shop from public",
        "grant connect on database shop to reader with grant option",
        "alter database shop connection limit 33",
        "alter database shop set search_path = \"$user\", public, 'a, b'",
        "alter database shop set log_min_duration_statement = 4711",
        "alter role reader in database shop set my.setting = 'it''s'",
        "comment on database shop is 'the ''real'' shop'",
    ] {
        scene.cluster.psql(sql);
    }
    scene.backup();
    let before = scene.cluster.psql(&format!("{ABOUT}'shop'"));
    let shown = scene.rig.run(&["show", "shop@latest"]).stdout;
    assert!(shown.contains("log_min_duration_statement") && shown.contains("search_path"), "{shown}");
    assert!(shown.contains("my.setting (for reader)") && shown.contains("33 connections at most") && !shown.contains("it's"), "{shown}");

    let other = crate::cluster::Cluster::start();
    let url = other.url("shop");
    let about = |name: &str| other.psql(&format!("{ABOUT}'{name}'"));
    let planned = scene.restored(&url, &["--dry-run", "--no-owner"]);
    assert!(planned.stderr.contains("left out of roles that are not there: reader"), "{planned:?}");
    assert!(planned.stdout.contains("connection limit 33") && !planned.stdout.contains("to \"reader\""), "{planned:?}");
    other.psql("create role boss; ");
    other.psql("create role reader");
    let ended = scene.restored(&url, &[]);
    assert_eq!(about("shop"), before, "{ended:?}");
    assert_eq!(other.psql_in("shop", "select count(*) from orders"), "500");

    scene.restored(&other.url("plain"), &["--no-privileges", "--no-owner"]);
    let plain = about("plain");
    assert!(plain.contains("\"acl\" : null") && plain.contains("\"limit\" : 33") && !plain.contains("reader"), "{plain}");

    // What the role may not do is told by name, and the restore stands.
    other.psql("create role maker login createdb");
    let ended = scene.restored(&other.url_as("maker", "third"), &["--no-owner", "--no-privileges"]);
    assert!(ended.stderr.contains("for want of") && ended.stderr.contains("log_min_duration_statement"), "{ended:?}");
    assert!(!ended.stderr.contains("4711"), "{ended:?}");
    assert_eq!(other.psql("select datconnlimit from pg_database where datname = 'third'"), "33");
}

#[test]
fn a_replacement_that_was_planned_before_another_was_done_is_refused() {
    let scene = Scene::new(SHOP);
    // The second session of the first restore, by which it carries its plan out, has to wait.
    let psql = crate::cluster::bin().join("psql").display().to_string();
    let dir = scene.rig.path().display().to_string();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *application_name*beside*) if ! mkdir {dir}/first 2>/dev/null && mkdir {dir}/second 2>/dev/null; then \
         while ! [ -e {dir}/go ]; do sleep 0.1; done; fi;; esac\nexec {psql} \"$@\"\n"
    );
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("psql", &script)])));
    let mut command = scene.rig.command();
    command.args(["restore", "shop@latest", "--to", "shop", "--replace", "--drop-old"]);
    let waiting = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let parked = || scene.rig.path().join("second").exists();
    crate::rig::wait_until(crate::scene::LONG, || String::from("the first to have its plan"), parked);
    scene.restored("shop", &["--replace", "--drop-old"]);
    let put = scene.cluster.psql("select oid from pg_database where datname = 'shop'");
    std::fs::write(scene.rig.path().join("go"), "").unwrap();
    let ended = waiting.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("is another one than when the restore was planned"), "{told}");
    assert_eq!(scene.databases(), ["shop"]);
    assert_eq!(scene.cluster.psql("select oid from pg_database where datname = 'shop'"), put);
}

#[test]
fn in_place_says_who_holds_it_up() {
    let scene = Scene::new(SHOP);
    let mut holder = scene.cluster.psql_command("shop");
    holder.env("PGAPPNAME", "nightly report").args(["-c", "begin", "-c", "select count(*) from orders", "-c", "select pg_sleep(600)"]);
    let mut holder = holder.stdout(std::process::Stdio::null()).spawn().unwrap();
    scene.cluster.wait_until("(select count(*) > 0 from pg_stat_activity where wait_event = 'PgSleep')");
    let mut command = scene.rig.command();
    command.args(["restore", "shop@latest", "--to", "shop", "--in-place", "--no-safety-backup"]);
    let waiting = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let asks =
        "(select count(*) > 0 from pg_stat_activity where application_name ~ '^pgdumpd/.* beside$' and query like '%pg_blocking_pids%')";
    scene.cluster.wait_until(asks);
    std::thread::sleep(std::time::Duration::from_secs(1));
    scene.cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'");
    holder.wait().unwrap();
    let ended = waiting.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(0), "{told}");
    assert!(told.contains("waits for a lock held by process") && told.contains("(nightly report)"), "{told}");
}

#[test]
fn in_place_waits_for_no_lock_longer_than_lock_wait() {
    let scene = Scene::new(SHOP);
    let before = scene.fingerprint("shop");
    let text = std::fs::read_to_string(scene.rig.path().join("pgdumpd.toml")).unwrap();
    std::fs::write(scene.rig.path().join("pgdumpd.toml"), text.replace("retries = []", "retries = [], lock_wait = \"2s\"")).unwrap();
    let mut holder = scene.cluster.psql_command("shop");
    holder.env("PGAPPNAME", "nightly report").args(["-c", "begin", "-c", "select count(*) from orders", "-c", "select pg_sleep(600)"]);
    let mut holder = holder.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    scene.cluster.wait_until("(select count(*) > 0 from pg_stat_activity where wait_event = 'PgSleep')");
    let ended = scene.restore("shop", &["--in-place", "--no-safety-backup"]);
    assert!(ended.code == 1 && ended.stderr.contains("the restore waited 2s for a lock held by process"), "{ended:?}");
    assert!(ended.stderr.contains("(nightly report)") && ended.stderr.contains("raise limits.lock_wait"), "{ended:?}");
    assert_eq!(scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd%'"), "0");
    scene.cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'");
    holder.wait().unwrap();
    assert_eq!(scene.fingerprint("shop"), before);
}
