//! A restore that fails half-way, or is ended: the target is as it was, nothing stays, and the next one works.

use std::time::Duration;

use crate::rig::wait_until;
use crate::scene::{LONG, SHOP, Scene};

/// Its rows break its foreign key, which shows only when everything else is there.
const BROKEN: &str = "create table a (id int primary key); create table b (id int, a int references a);
    insert into a select generate_series(1, 1000);
    set session_replication_role = replica; insert into b values (1, 7), (2, 4711)";

/// A row of it takes a minute, but only where it is restored under a temporary name or into `target`.
const SLOW: &str = "create table fast (x int); insert into fast select generate_series(1, 1000);
    create function slow(i int) returns bool language plpgsql as $$ begin
      if current_database() like 'pgdumpd_restore_%' or current_database() = 'target' then perform pg_sleep(60); end if;
      return true; end $$;
    create table z (i int check (slow(i))); insert into z values (1), (2)";

fn as_before(scene: &Scene, databases: &[&str]) {
    assert_eq!(scene.databases(), databases);
    let others = scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'");
    assert_eq!(others, "0", "nobody is at work any more");
}

#[test]
fn f48_rows_that_break_a_foreign_key_leave_every_target_as_it_was() {
    let scene = Scene::new(BROKEN);
    scene.cluster.psql("create database empty");
    let before = scene.fingerprint("shop");
    for (to, more) in [
        ("new", &[][..]),
        ("new", &["--jobs", "2"]),
        ("empty", &[]),
        ("empty", &["--jobs", "2"]),
        ("shop", &["--replace"]),
        ("shop", &["--in-place", "--no-safety-backup"]),
    ] {
        let ended = scene.restore(to, more);
        assert_eq!(ended.code, 1, "{to} {more:?}: {ended:?}");
        assert!(ended.stderr.contains("b_a_fkey"), "the constraint is named: {ended:?}");
        as_before(&scene, &["empty", "shop"]);
        assert_eq!(scene.fingerprint("shop"), before, "{to} {more:?}");
        assert_eq!(scene.cluster.psql_in("empty", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
        assert!(scene.audit()[0].contains("restore-failed"), "{:?}", scene.audit());
    }
    assert_eq!(scene.rig.backups()[0]["proof"], "whole", "what failed proves nothing");
}

#[test]
fn errors_are_passed_over_only_where_that_is_asked_for_and_are_counted() {
    let scene = Scene::new(BROKEN);
    for (to, jobs) in [("new", "1"), ("newer", "3")] {
        let ended = scene.restore(to, &["--keep-going", "--json", "--jobs", jobs]);
        assert_eq!(ended.code, 3, "{ended:?}");
        let answer = ended.json();
        assert_eq!(answer["success"], false);
        assert_eq!(answer["restored"]["ignored"], 1, "{answer}");
        assert!(answer["restored"]["errors"][0].as_str().unwrap().contains("b_a_fkey"), "{answer}");
        assert_eq!(scene.cluster.psql_in(to, "select count(*) from b"), "2");
    }
    assert_eq!(scene.rig.backups()[0]["proof"], "whole");
}

#[test]
fn f48_a_signal_ends_it_with_the_target_as_it_was() {
    let scene = Scene::new(SLOW);
    scene.cluster.psql("create database target");
    for (signal, code, to, more) in [
        ("TERM", 143, "new", &[][..]),
        ("INT", 130, "target", &[]),
        ("TERM", 143, "shop", &["--replace"]),
        ("INT", 130, "new", &["--jobs", "2"]),
    ] {
        let mut running = scene.start(to, more);
        wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
        running.signal(signal);
        assert_eq!(running.wait(), code, "{signal} {to}");
        as_before(&scene, &["shop", "target"]);
        assert_eq!(scene.cluster.psql_in("target", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
        let by = if signal == "INT" { "interrupted by Ctrl-C (SIGINT)" } else { "interrupted by SIGTERM" };
        assert!(scene.audit()[0].contains(by), "{:?}", scene.audit());
        assert_eq!(scene.rig.stored().len(), 2, "no scratch is left: {:?}", scene.rig.stored());
    }
}

fn sleeping(scene: &Scene) -> usize {
    scene
        .cluster
        .psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep' and application_name like 'pgdumpd/%'")
        .parse()
        .unwrap()
}

/// Processes whose command line holds all of these.
fn processes(words: &[&str]) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines =
        all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

/// Nobody of them is there any more, and none of their sessions.
fn all_gone(scene: &Scene, words: &[&str]) {
    let began = std::time::Instant::now();
    let sessions = || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'");
    let left = || format!("{:?} and {} sessions", processes(words), sessions());
    wait_until(Duration::from_secs(20), left, || processes(words).is_empty() && sessions() == "0");
    assert!(began.elapsed() < Duration::from_secs(15), "within seconds: {:?}", began.elapsed());
}

#[test]
fn f48_a_killed_restore_takes_its_tools_and_their_workers_with_it() {
    let scene = Scene::new(SLOW);
    let port = scene.cluster.port.to_string();
    let tools = ["pg_restore", port.as_str()];
    for (more, least) in [(&["--jobs", "2"][..], 2), (&[], 1)] {
        let mut running = scene.start("new", more);
        wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
        assert!(processes(&tools).len() >= least, "{more:?}: {:?}", processes(&["pg_restore"]));
        running.signal("KILL");
        assert_eq!(running.wait(), -1);
        all_gone(&scene, &tools);
    }
    assert!(processes(&["pgdumpd-guard"]).iter().all(|line| !line.contains(&port)), "a guard is no argument's keeper");
    scene.restored("copy", &["--schema-only"]);
    as_before(&scene, &["copy", "shop"]);
}

#[test]
fn f21_a_killed_run_takes_a_directory_dump_and_its_workers_with_it() {
    let scene = Scene::new(SHOP);
    scene.configure("format = \"directory\"\njobs = 2");
    let mut holder = scene.cluster.psql_command("shop");
    let mut holder = holder.args(["-c", "begin", "-c", "lock table orders", "-c", "select pg_sleep(600)"]).spawn().unwrap();
    let mut command = scene.rig.command();
    let mut running = crate::scene::Running(command.args(["backup", "shop"]).stderr(std::process::Stdio::null()).spawn().unwrap());
    let port = scene.cluster.port.to_string();
    let tools = ["pg_dump", port.as_str()];
    let waits =
        || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock'");
    wait_until(
        LONG,
        || format!("a dump that waits for a lock: {:?}", processes(&tools)),
        || waits() != "0" && !processes(&tools).is_empty(),
    );
    running.signal("KILL");
    assert_eq!(running.wait(), -1);
    all_gone(&scene, &tools);
    scene.cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'");
    holder.wait().unwrap();
    scene.backup();
    assert_eq!(scene.rig.stored().len(), 4, "no scratch is left: {:?}", scene.rig.stored());
}

#[test]
fn f48_what_a_killed_restore_leaves_is_removed_by_the_next_one() {
    let scene = Scene::new(SLOW);
    let mut running = scene.start("new", &[]);
    wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
    running.signal("KILL");
    assert_eq!(running.wait(), -1);
    let left: Vec<String> = scene.databases().into_iter().filter(|name| name.starts_with("pgdumpd_restore_")).collect();
    assert_eq!(left.len(), 1, "{:?}", scene.databases());
    assert!(scene.audit().len() == 1 && scene.audit()[0].ends_with("of shop/shop to \"new\" -> begun"), "{:?}", scene.audit());
    // A database that only looks like one of ours, and one of another project, are nobody's to drop.
    scene.cluster.psql("create database pgdumpd_restore_mine");
    scene.cluster.psql("comment on database pgdumpd_restore_mine is 'precious'");
    scene.cluster.psql("create database pgdumpd_restore_other");
    scene.cluster.psql("comment on database pgdumpd_restore_other is 'pgdumpd restore other elsewhere'");
    wait_until(
        LONG,
        || String::from("the session of the killed one ends"),
        || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/% beside'") == "0",
    );
    let ended = scene.restore("copy", &["--schema-only"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(scene.audit().len() == 2 && scene.audit()[0].contains("to \"copy\" -> 0 tables"), "one entry each: {:?}", scene.audit());
    assert!(ended.stderr.contains(&left[0]), "{ended:?}");
    as_before(&scene, &["copy", "pgdumpd_restore_mine", "pgdumpd_restore_other", "shop"]);
}

#[test]
fn f48_what_a_killed_restore_leaves_is_removed_by_the_daemons_start() {
    let scene = Scene::new(SLOW);
    let mut running = scene.start("shop", &["--replace"]);
    wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
    running.signal("KILL");
    running.wait();
    assert_eq!(scene.databases().len(), 2);
    wait_until(
        LONG,
        || String::from("the session of the killed one ends"),
        || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/% beside'") == "0",
    );
    let serving = scene.rig.serve();
    wait_until(LONG, || format!("the database that was left: {}", serving.log()), || scene.databases() == ["shop"]);
    assert_eq!(scene.cluster.psql_in("shop", "select count(*) from z"), "2");
}

#[test]
fn f48_a_restore_that_was_at_work_at_one_start_is_cleared_up_by_the_next() {
    let scene = Scene::new(SLOW);
    let mut running = scene.start("new", &[]);
    wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
    let mut serving = scene.rig.serve();
    wait_until(LONG, || serving.log(), || serving.log().contains("ready"));
    assert_eq!(scene.databases().len(), 2, "somebody is at work on it");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    running.signal("KILL");
    running.wait();
    let gone = || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'") == "0";
    wait_until(LONG, || String::from("the sessions of the killed one end"), gone);
    let serving = scene.rig.serve();
    wait_until(LONG, || format!("the database that was left: {}", serving.log()), || scene.databases() == ["shop"]);
}

#[test]
fn f48_what_another_role_left_is_named_by_the_daemons_start() {
    let scene = Scene::new(SLOW);
    scene.cluster.psql("create role weak login");
    let url = scene.cluster.url_as("weak", "");
    scene.rig.configure(&format!("[[project]]\nname = \"shop\"\nconnection = {url:?}\ndatabases = [\"shop\"]"));
    let mut running = scene.start("new", &["--user", "postgres"]);
    wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
    running.signal("KILL");
    running.wait();
    let left = scene.databases().remove(0);
    let gone = || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/% beside'") == "0";
    wait_until(LONG, || String::from("the session of the killed one ends"), gone);
    let line = format!("it belongs to postgres: as that role, drop database \\\"{left}\\\"");
    for _ in 0..2 {
        let serving = scene.rig.serve();
        let told = || serving.log().replace("\\\"", "\"").contains(&line.replace("\\\"", "\""));
        wait_until(LONG, || format!("{line}: {}", serving.log()), told);
    }
    assert_eq!(scene.databases(), [left.as_str(), "shop"]);
}

#[test]
fn two_restores_to_one_database_at_the_same_time_are_refused() {
    let scene = Scene::new(SLOW);
    let mut running = scene.start("shop", &["--replace"]);
    wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
    let ended = scene.restore("shop", &["--replace"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("another restore to the database \"shop\" is at work (pgdumpd/"), "{ended:?}");
    scene.restored("beside", &["--schema-only"]);
    running.signal("TERM");
    assert_eq!(running.wait(), 143);
    as_before(&scene, &["beside", "shop"]);
}

#[test]
fn f48_a_server_that_stops_half_way_is_told_and_the_target_is_as_it_was() {
    let scene = Scene::new(SLOW);
    scene.cluster.psql("create database target");
    let mut command = scene.rig.command();
    let running = command.args(["restore", "shop@latest", "--to", "target"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_until(LONG, || String::from("a row that takes long"), || sleeping(&scene) > 0);
    scene.cluster.stop_immediate();
    let ended = running.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("the server or the way to it went away") && !told.contains("--keep-going"), "{told}");
    std::thread::sleep(Duration::from_millis(200));
    scene.cluster.start_again();
    assert_eq!(scene.cluster.psql_in("target", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    as_before(&scene, &["shop", "target"]);
}

#[test]
fn f48_a_tool_that_is_killed_or_lies_leaves_the_target_as_it_was() {
    let scene = Scene::new(SHOP);
    let real = crate::cluster::bin().join("pg_restore");
    let real = real.display();
    for (script, word) in [
        ("#!/bin/sh\nhead -c 1000 >/dev/null\nkill -9 $$\n", "SIGKILL"),
        ("#!/bin/sh\ncat >/dev/null\nexit 0\n", "not what was backed up"),
        (&format!("#!/bin/sh\n{real} --section=pre-data \"$@\"\n")[..], "not what was backed up"),
        (&format!("#!/bin/sh\n{real} \"$@\"\nexit 7\n")[..], "exit status 7"),
    ] {
        let bin = scene.rig.clients(&[("pg_restore", script)]);
        scene.configure(&format!("pg_bin_dir = {bin:?}"));
        let ended = scene.restore("new", &[]);
        assert_eq!(ended.code, 1, "{script}: {ended:?}");
        assert!(ended.stderr.contains(word), "{script}: {ended:?}");
        as_before(&scene, &["shop"]);
    }
}

#[test]
fn what_was_made_since_and_stands_in_the_way_is_named() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql_in("shop", "create table child (id int references orders); create view \"a view\" as select id from child");
    let before = scene.fingerprint("shop");
    let ended = scene.restore("shop", &["--in-place", "--no-safety-backup"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let told = "because other objects depend on it: constraint child_id_fkey on table public.child depends on index public.orders_pkey";
    assert!(ended.stderr.lines().next().is_some_and(|sentence| sentence.ends_with(told)), "{ended:?}");
    assert!(ended.stderr.contains("depends on what it would drop: drop that first, or restore with --replace"), "{ended:?}");
    assert!(scene.audit()[0].contains("constraint child_id_fkey on table public.child"), "{:?}", scene.audit());
    assert_eq!(scene.fingerprint("shop"), before);
    scene.restored("shop", &["--replace"]);
}
