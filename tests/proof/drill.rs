//! Drills by hand: what comes back, what is told when it doesn't, and that nothing stays behind.

use std::process::{Command, Stdio};

use crate::rig::wait_until;
use crate::stage::{LONG, Stage};

/// Processes that work in, or were given, a folder of a drill; by their command lines.
fn left_behind(stage: &Stage) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&stage.scratch()) {
            found.push(line);
        }
    }
    let folders = std::fs::read_dir(stage.rig.path().join("tmp")).into_iter().flatten().flatten();
    found.extend(folders.map(|entry| entry.path().display().to_string()));
    found
}

#[test]
fn a_good_backup_comes_back_and_is_proven() {
    let stage =
        Stage::new("globals = true\n[[project.check]]\nname = \"enough\"\nsql = \"\"\"\nselect count(*) >= 500\nfrom item -- all\n\"\"\"");
    stage.cluster.psql("create role \"own er\" login; create role reader in role \"own er\"");
    stage.cluster.psql_in("shop", "alter table item owner to \"own er\"; grant select on empty to reader");
    let id = stage.backup();
    let said = stage.run(&["drill", "shop"], 0).stdout;
    assert!(said.contains("500 rows restored in") && said.contains("check enough: true") && said.contains("came back as it was"), "{said}");
    let row = stage.row(&id);
    assert_eq!((&row["proof"], row["damaged"].is_null()), (&"restored".into(), true));
    assert!(row["restored_at"].is_string() && row["restore_ms"].as_u64().unwrap() > 0, "{row}");
    let proof = stage.proof(&id).unwrap();
    assert_eq!((&proof["level"], &proof["looks"][0]["level"]), (&"restored".into(), &"restored".into()));
    let json = stage.run(&["drill", &id, "--json"], 0).json();
    assert_eq!((&json["success"], &json["backups"][0]["warnings"]), (&true.into(), &serde_json::json!([])));
    assert!(stage.run(&["status"], 0).stdout.contains(" ago, in "), "the standing says when it was proven");
    assert_eq!(left_behind(&stage), [""; 0]);
    assert!(stage.mails("").is_empty());
}

#[test]
fn a_failing_check_is_told_by_mail_and_its_end_too() {
    let check = |sql: &str| format!("[[project.check]]\nname = \"orders\"\nsql = {sql:?}");
    let stage = Stage::new(&check("select count(*) > 500 from item"));
    stage.cluster.psql_in("shop", "create function note() returns bool language sql as 'insert into public.empty values (1); select true'");
    let id = stage.backup();
    let ended = stage.run(&["drill", "shop"], 1);
    assert!(ended.stdout.contains("check orders: it is not true") && ended.stdout.contains("drill FAILED"), "{ended:?}");
    let row = stage.row(&id);
    assert!(row["proof"] == "whole" && row["restored_at"].is_null() && row["damaged"].is_null(), "{row}");
    let mails = stage.mails("DRILL FAILED shop");
    assert_eq!(mails.len(), 1);
    for words in [
        "it restores, but the check",
        "\"orders\" failed: it is not true",
        "No backup of it was ever restored",
        "Backups go on",
        "X-Pgdumpd-Event: drill-failed",
    ] {
        assert!(mails[0].replace('\n', " ").contains(words), "{words}: {}", mails[0]);
    }
    assert!(stage.run(&["status"], 1).stdout.contains("it restores, but"), "a failed drill stands in the status");
    // Whatever isn't one true is no yes, and writes are refused.
    for (sql, words) in [
        ("select 1", "boolean"),
        ("select true from item", "more than one row"),
        ("select true where false", "not true"),
        ("select true, true", "one column"),
        ("select note()", "read-only"),
        ("select nonsense", "nonsense"),
    ] {
        stage.configure(&check(sql));
        let ended = stage.run(&["drill", "shop"], 1);
        assert!(ended.stdout.contains(words), "{sql}: {ended:?}");
    }
    assert_eq!(stage.mails("DRILL FAILED shop").len(), 1, "once until the reminder");
    stage.configure(&check("select count(*) = 500 from item"));
    stage.run(&["drill", "shop"], 0);
    let mails = stage.mails("OK shop: drills work again");
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("References: <"), "it answers the first: {}", mails[0]);
    stage.run(&["status"], 0);
}

#[test]
fn a_drill_on_a_server_leaves_it_as_it_was() {
    let stage = Stage::new("");
    stage.backup();
    let other = crate::cluster::Cluster::start();
    other.psql("create table mine (n int)");
    let databases = || other.psql("select string_agg(datname, ' ' order by datname) from pg_database");
    let before = databases();
    let said = stage.run(&["drill", "shop", "--on", &other.url("postgres")], 0).stdout;
    assert!(said.contains("came back as it was"), "{said}");
    assert_eq!(databases(), before);
    let said = stage.run(&["drill", "shop", "--on", &other.url("postgres"), "--keep"], 0).stdout;
    assert!(said.contains("kept as database pgdumpd_drill_"), "{said}");
    assert_ne!(databases(), before);
    let ended = stage.run(&["drill", "shop", "--keep"], 2);
    assert!(ended.stderr.contains("a throwaway cluster is gone when the drill is over"), "{ended:?}");
    assert!(ended.stderr.contains("--on postgresql://") && ended.stderr.contains("--to shop_restored"), "{ended:?}");
    stage.configure(&format!("drill = {{ cron = \"@weekly\", on = {:?} }}", other.url("postgres")));
    let said = stage.run(&["drill", "shop", "--keep"], 0).stdout;
    assert!(said.contains("kept as database pgdumpd_drill_"), "the configured server will do: {said}");
}

#[test]
fn what_is_set_for_the_superuser_is_not_set_in_a_throwaway_server() {
    let stage = Stage::new("globals = true");
    stage.cluster.psql("create role app; alter role app set work_mem = '5MB'");
    stage.cluster.psql("alter role postgres set default_transaction_read_only = on");
    stage.backup();
    let said = stage.run(&["drill", "shop"], 0);
    assert!(said.stdout.contains("came back as it was") && !said.stderr.contains("warning"), "{said:?}");
}

#[test]
fn a_drill_that_is_killed_leaves_no_server_and_no_folder() {
    let stage = Stage::new("");
    stage.backup();
    // A psql that never answers: the drill is caught with its cluster up.
    let script = "#!/bin/sh\nexec sleep 1000\n";
    stage.configure(&format!("pg_bin_dir = {:?}", stage.rig.clients(&[("psql", script)])));
    let mut child = stage.rig.command().args(["drill", "shop"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = || left_behind(&stage).iter().any(|line| line.contains("bin/postgres"));
    wait_until(LONG, || String::from("the cluster"), running);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(
        std::time::Duration::from_secs(20),
        || format!("nothing left: {:?}", left_behind(&stage)),
        || left_behind(&stage).is_empty(),
    );
    // And where the watcher is killed as well, the next start clears up.
    let mut child = stage.rig.command().args(["drill", "shop"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(LONG, || String::from("the cluster"), running);
    let watchers = Command::new("pgrep").args(["-f", &format!("pgdumpd-drill {}", stage.scratch())]).output().unwrap();
    // Stopped first: a pgdumpd that still waits for its cluster would clear up itself when the watcher is gone.
    Command::new("kill").args(["-STOP", &child.id().to_string()]).status().unwrap();
    // The shell, and whatever it has forked of itself.
    let watchers: Vec<String> = String::from_utf8_lossy(&watchers.stdout).lines().map(str::to_owned).collect();
    assert!(!watchers.is_empty(), "no watcher");
    Command::new("kill").arg("-KILL").args(&watchers).status().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!left_behind(&stage).is_empty(), "this time nobody was there to clear up");
    stage.configure("");
    let serving = stage.rig.serve();
    wait_until(LONG, || format!("nothing left: {:?}", left_behind(&stage)), || left_behind(&stage).is_empty());
    drop(serving);
}

#[test]
fn without_server_programs_it_says_what_to_install() {
    let stage = Stage::new("");
    let id = stage.backup();
    let manifest = format!("{}.json", stage.file(&id).display());
    let text = std::fs::read_to_string(&manifest).unwrap();
    let from = text.lines().find(|line| line.contains("postgresql_version_num")).unwrap();
    std::fs::write(&manifest, text.replace(from, "  \"postgresql_version_num\": 770001,")).unwrap();
    let ended = stage.run(&["drill", &id], 1);
    assert!(ended.stderr.contains("initdb") && ended.stderr.contains("postgresql-77") && ended.stderr.contains("--on URL"), "{ended:?}");
    // By hand, what this machine can't do is no drill that failed.
    let status = stage.run(&["status"], 0);
    assert!(!status.stdout.contains("DRILL"), "{status:?}");
}

/// The databases on a server that drills have made.
fn scratch_on(server: &crate::cluster::Cluster) -> Vec<String> {
    let names = server.psql("select datname from pg_database where datname like 'pgdumpd%' order by 1");
    names.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Kills a drill on that server while its check sleeps; returns the database that stays.
fn killed_on(stage: &Stage, other: &crate::cluster::Cluster) -> String {
    let mut command = stage.rig.command();
    let command = command.args(["drill", "shop", "--on", &other.url("postgres")]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let asked = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    wait_until(LONG, || String::from("the check"), || other.psql(asked) == "1");
    assert_eq!(other.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/% beside'"), "1", "in use");
    child.kill().unwrap();
    child.wait().unwrap();
    other.psql("select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'PgSleep'");
    let gone = || other.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'") == "0";
    wait_until(LONG, || String::from("the sessions of the killed one end"), gone);
    let left = scratch_on(other);
    assert_eq!(left.len(), 1, "{left:?}");
    left[0].clone()
}

#[test]
fn what_a_killed_drill_left_on_a_server_is_removed_by_the_next_and_by_the_start() {
    let sleeps = "[[project.check]]\nname = \"slow\"\nsql = \"select pg_sleep(50) is not null\"";
    let stage = Stage::new(sleeps);
    stage.backup();
    let other = crate::cluster::Cluster::start();
    let left = killed_on(&stage, &other);
    stage.configure("");
    // What was kept on purpose, and what is another project's, is nobody's to drop.
    let said = stage.run(&["drill", "shop", "--on", &other.url("postgres"), "--keep"], 0).stderr;
    assert!(said.contains(&left), "it is told: {said}");
    other.psql("create database pgdumpd_drill_other");
    other.psql("comment on database pgdumpd_drill_other is 'pgdumpd drill other elsewhere'");
    let stay = scratch_on(&other);
    assert!(stay.len() == 2 && !stay.contains(&left), "{stay:?}");
    stage.run(&["drill", "shop", "--on", &other.url("postgres")], 0);
    assert_eq!(scratch_on(&other), stay);
    // On the server that is configured for drills the daemon's start does so.
    let on = format!("drill = {{ cron = \"@yearly\", on = {:?} }}\n", other.url("postgres"));
    stage.configure(&format!("{on}{sleeps}"));
    killed_on_configured(&stage, &other, &stay);
    stage.configure(&on);
    let serving = stage.rig.serve();
    wait_until(LONG, || format!("{:?}: {}", scratch_on(&other), serving.log()), || scratch_on(&other) == stay);
}

/// The same where the configuration names the server.
fn killed_on_configured(stage: &Stage, other: &crate::cluster::Cluster, before: &[String]) {
    let mut child = stage.rig.command().args(["drill", "shop"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let asked = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    wait_until(LONG, || String::from("the check"), || other.psql(asked) == "1");
    child.kill().unwrap();
    child.wait().unwrap();
    other.psql("select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'PgSleep'");
    let gone = || other.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'") == "0";
    wait_until(LONG, || String::from("the sessions of the killed one end"), gone);
    assert_eq!(scratch_on(other).len(), before.len() + 1);
}

#[test]
fn a_database_with_a_subscription_leaves_nothing_on_a_server_either() {
    let sleeps = "[[project.check]]\nname = \"slow\"\nsql = \"select pg_sleep(50) is not null\"";
    let stage = Stage::new(sleeps);
    stage.cluster.psql_in(
        "shop",
        "create subscription \"su b\" connection 'host=127.0.0.1 port=1' publication p with (connect = false, slot_name = su)",
    );
    let id = stage.backup();
    let other = crate::cluster::Setup::default().setting("log_statement = 'ddl'").start();
    let on = other.url("postgres");
    killed_on(&stage, &other);
    stage.configure("");
    let said = stage.run(&["drill", &id, "--on", &on], 0);
    assert!(said.stderr.contains("removed the database pgdumpd_drill_") && !said.stderr.contains("could not be dropped"), "{said:?}");
    assert_eq!((scratch_on(&other), other.psql("select count(*) from pg_subscription").as_str()), (Vec::new(), "0"));
    // What is kept is somebody's to drop, by the lines that are told.
    let said = stage.run(&["drill", &id, "--on", &on, "--keep"], 0).stderr;
    let kept = scratch_on(&other).remove(0);
    let lines = said.split_once(&format!("can be dropped, type in psql in \"{kept}\": ")).expect(&said).1.lines().next().unwrap();
    other.psql_in(&kept, lines);
    other.psql(&format!("drop database {kept}"));
    // A role that can't make it is told so before anything is made.
    other.psql("create role maker login createdb");
    let made = other.log().matches("create database").count();
    let ended = stage.run(&["drill", &id, "--on", &other.url_as("maker", "postgres")], 1);
    assert!(ended.stderr.contains("the backup holds the subscription su b, and the role maker may not make one"), "{ended:?}");
    assert_eq!(other.log().matches("create database").count(), made);
}

#[test]
fn a_drill_on_a_server_that_lacks_something_touches_nothing() {
    let stage = Stage::new("");
    let id = stage.backup();
    let other = crate::cluster::Setup::default().setting("log_statement = 'ddl'").start();
    other.psql("create role meek login");
    let ended = stage.run(&["drill", &id, "--on", &other.url_as("meek", "postgres")], 1);
    assert!(ended.stderr.contains("may not make databases"), "{ended:?}");
    other.psql("create role reader login createdb; alter role reader set default_transaction_read_only = on");
    let ended = stage.run(&["drill", &id, "--on", &other.url_as("reader", "postgres")], 1);
    let told = "sessions of the role reader are read-only: default_transaction_read_only is on, set by ALTER ROLE \"reader\"";
    assert!(ended.stderr.contains(told) && ended.stderr.contains("name another role in the server's URL; or "), "{ended:?}");
    let manifest = format!("{}.json", stage.file(&id).display());
    let text = std::fs::read_to_string(&manifest).unwrap();
    let from = text.lines().find(|line| line.contains("\"database_size_bytes\"")).unwrap();
    std::fs::write(&manifest, text.replace(from, "  \"database_size_bytes\": 4611686018427387904,")).unwrap();
    let ended = stage.run(&["drill", &id, "--on", &other.url("postgres")], 1);
    assert!(ended.stderr.contains("the server's disk has"), "{ended:?}");
    assert!(!other.log().to_lowercase().contains("create database"), "{}", other.log());
    assert!(stage.mails("DRILL FAILED shop")[0].replace('\n', " ").contains("Nothing is left of the scratch database."));
}

#[test]
fn a_drill_that_fails_on_a_server_leaves_nothing_there() {
    let stage = Stage::new("");
    let id = stage.backup();
    let other = crate::cluster::Cluster::start();
    let path = stage.file(&id);
    let bytes = std::fs::read(&path).unwrap();
    stage.flip(&id);
    assert_ne!(std::fs::read(&path).unwrap(), bytes);
    stage.run(&["drill", &id, "--on", &other.url("postgres")], 1);
    assert_eq!(scratch_on(&other), [""; 0]);
}

#[test]
fn a_scratch_database_that_can_not_be_dropped_is_named() {
    let stage = Stage::new("");
    stage.configure_with("", "[], lock_wait = \"3s\"", "");
    stage.backup();
    let other = crate::cluster::Cluster::start();
    other.psql("create table mine (n int)");
    // A session that waits for rows of its client doesn't answer when the server asks all of them.
    let mut command = other.psql_command("postgres");
    let command = command.args(["-c", "copy mine from stdin"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut deaf = command.stderr(Stdio::null()).spawn().unwrap();
    let waits = "select count(*) from pg_stat_activity where state = 'active' and wait_event = 'ClientRead'";
    wait_until(LONG, || String::from("the COPY"), || other.psql(waits) == "1");
    let began = std::time::Instant::now();
    let said = stage.run(&["drill", "shop", "--on", &other.url("postgres")], 0).stderr;
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert!(said.contains("could not be dropped within 3s") && said.contains("pg_terminate_backend; those that wait"), "{said}");
    let left = scratch_on(&other);
    assert!(left.len() == 1 && said.contains(&left[0]), "{left:?}: {said}");
    deaf.kill().unwrap();
    deaf.wait().unwrap();
    wait_until(LONG, || String::from("the COPY's end"), || other.psql(waits) == "0");
    let said = stage.run(&["drill", "shop", "--on", &other.url("postgres")], 0).stderr;
    assert!(said.contains(&format!("removed the database {}", left[0])), "{said}");
    assert_eq!(scratch_on(&other), [""; 0]);
}

#[test]
fn a_backup_is_named_by_the_time_that_list_shows() {
    let stage = Stage::new("");
    let (first, second) = (stage.backup(), stage.backup());
    let wanted = stage.row(&second);
    let at: chrono::DateTime<chrono::Utc> = wanted["started_at"].as_str().unwrap().parse().unwrap();
    let there = at.with_timezone(&chrono::FixedOffset::east_opt(2 * 3600).unwrap());
    let times = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ"].map(|form| at.format(form).to_string());
    let abroad = ["%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%d %H:%M:%S%:z"].map(|form| there.format(form).to_string());
    // Where both were started in one second the newer is the one of that second.
    for time in times.iter().chain(&abroad) {
        let shown = stage.run(&["show", &format!("shop@{time}")], 0).stdout;
        assert!(shown.contains(&second), "{time}: {shown}");
    }
    let shown = stage.run(&["show", &format!("shop@{}", at.format("%Y-%m-%dT%H:%M"))], 0).stdout;
    assert!(shown.contains(&second) && !shown.contains(&first), "{shown}");
}

#[test]
fn a_check_of_a_database_that_is_not_backed_up_is_told_by_a_drill() {
    let stage = Stage::new(
        "databases = \"all\"\nexclude_databases = [\"postgres\"]\n[[project.check]]\nname = \"never\"\nsql = \"select false\"\ndatabase = \"shpo\"",
    );
    stage.backup();
    let ended = stage.run(&["drill", "shop"], 0);
    let said = ended.stdout.clone() + &ended.stderr;
    assert!(said.contains("the check \"never\" is asked of no database \"shpo\""), "{ended:?}");
}

#[test]
fn a_mail_of_a_failed_drill_knows_that_the_backup_came_back_before() {
    let stage = Stage::new("");
    let id = stage.backup();
    stage.run(&["drill", &id], 0);
    stage.configure("[[project.check]]\nname = \"no\"\nsql = \"select false\"");
    stage.run(&["drill", &id], 1);
    let mail = stage.mails("DRILL FAILED shop").remove(0);
    assert!(!mail.contains("No backup of it was ever restored") && mail.contains("this one was"), "{mail}");
    assert!(mail.contains(&format!("restore {id} --to shop_restored")), "{mail}");
}
