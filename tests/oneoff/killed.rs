//! What must not be lost, or stay, when a backup without a configuration goes wrong: the file that was there, locks, the server's patience.

use std::path::PathBuf;
use std::process::Stdio;

use crate::rig::wait_until;
use crate::scene::{PATIENCE, Scene, clients};

/// What lies in a folder.
fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A `pg_dump` whose archives are of a version that nobody knows yet.
fn from_the_future(scene: &Scene) -> PathBuf {
    let clients = clients();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {clients}/pg_dump \"$@\";; esac\n\
         f=$(mktemp) && {clients}/pg_dump \"$@\" >$f || exit\nprintf '\\143' | dd of=$f bs=1 seek=6 conv=notrunc 2>/dev/null\ncat $f; rm $f\n"
    );
    scene.rig.clients(&[("pg_dump", &script)])
}

#[test]
fn an_archive_of_an_unknown_version_replaces_nothing_before_it_was_read() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let file = scene.work().join("shop.dump");
    std::fs::write(&file, "the one before").unwrap();
    let pg_dump = from_the_future(&scene).join("pg_dump");
    let ended = scene.alone(&[("PG_DUMP_PATH", pg_dump.to_str().unwrap())], &["backup", "--url", &url, "-o", "shop.dump"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("pg_restore could not read the archive"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the one before");
    assert_eq!(names(&scene.work()), ["shop.dump"]);
    // The same promise in a project's storage: nothing under a final name.
    scene.configure(&format!("pg_bin_dir = {:?}", pg_dump.parent().unwrap()));
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 1);
    assert!(names(&scene.rig.storage().join("shop")).iter().all(|name| name == ".pgdumpd-lock"));
}

#[test]
fn a_killed_run_to_standard_output_is_in_nobodys_way() {
    let scene = Scene::new();
    let (url, scratch) = (scene.cluster.url("shop"), scene.rig.path().join("scratch"));
    std::fs::create_dir(&scratch).unwrap();
    let variables = [("TMPDIR", scratch.to_str().unwrap())];
    for format in ["custom", "directory"] {
        let held = crate::directory::hold_lock(&scene);
        let mut command = scene.alone_command(&variables);
        command.args(["backup", "--url", &url, "--format", format, "--output", "-"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        scene
            .cluster
            .wait_until("exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock')");
        // While it lives, another one leaves its lock and its scratch alone.
        let before = names(&scratch);
        assert!(!before.is_empty(), "{format}: no lock");
        let beside = scene.alone(&variables, &["backup", "--url", &url, "--tables", "item", "--output", "-"]);
        assert_eq!((beside.code, names(&scratch)), (0, before.clone()), "{format}: {beside:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names(&scratch), before, "{format}: the kill cleared up by itself?");
        drop(held);
        // The orphaned pg_dump ends by its broken pipe, or with what it writes.
        scene.cluster.wait_until("not exists (select from pg_stat_activity where application_name like 'pgdumpd/%')");
        let next = || {
            let ended = scene.alone(&variables, &["backup", "--url", &url, "--output", "-"]);
            assert_eq!(ended.code, 0, "{format}: {ended:?}");
            names(&scratch)
        };
        wait_until(PATIENCE, || format!("{format}: what was left to go"), || next().is_empty());
    }
}

/// A run for another file, as cron's with the date in its name, clears up too; what is at work stays.
#[test]
fn what_a_killed_run_left_goes_with_the_next_into_the_same_folder() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    for (next, more) in [("b.dump", "custom"), (".", "custom"), ("b.dump", "directory")] {
        let held = crate::directory::hold_lock(&scene);
        let mut command = scene.alone_command(&[]);
        command.args(["backup", "--url", &url, "--format", more, "-o", "a.dump"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        scene
            .cluster
            .wait_until("exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock')");
        let before = names(&scene.work());
        assert!(before.len() >= 2, "{before:?}");
        let run = |output: &str| {
            let ended = scene.alone(&[], &["backup", "--url", &url, "--tables", "item", "-o", output]);
            assert_eq!(ended.code, 0, "{ended:?}");
        };
        run("beside.dump");
        assert_eq!(names(&scene.work()), [before.as_slice(), &[String::from("beside.dump")]].concat(), "it is at work");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(held);
        scene.cluster.wait_until("not exists (select from pg_stat_activity where application_name like 'pgdumpd/%')");
        // Nobody else's: a stranger's file, and a lock that is called otherwise.
        std::fs::write(scene.work().join(".pgdumpd-lock-mine"), "").unwrap();
        let left = || names(&scene.work()).into_iter().filter(|name| before.contains(name)).count();
        wait_until(
            PATIENCE,
            || format!("{next}: {:?}", names(&scene.work())),
            || {
                run(next);
                left() == 0
            },
        );
        assert!(scene.work().join(".pgdumpd-lock-mine").exists());
        std::fs::remove_dir_all(scene.work()).unwrap();
    }
}

/// A terminal that is gone, and QUIT, end a run as TERM does; whoever said `nohup` has it go on.
#[test]
fn a_lost_terminal_leaves_nothing() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    for (signal, format, code) in [("HUP", "custom", 129), ("QUIT", "directory", 131), ("TERM", "custom", 143), ("HUP", "nohup", 0)] {
        let held = crate::directory::hold_lock(&scene);
        let plain = scene.alone_command(&[]);
        // Whoever runs these tests may have said `nohup` as well.
        let (by, how) = if format == "nohup" { ("nohup", "--") } else { ("env", "--default-signal") };
        let mut command = std::process::Command::new(by);
        command.arg(how).arg(plain.get_program()).env_clear().current_dir(scene.work());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["backup", "--url", &url, "-o", "x.dump", "--format", if format == "nohup" { "custom" } else { format }]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        scene
            .cluster
            .wait_until("exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock')");
        let sent = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        if format == "nohup" {
            std::thread::sleep(std::time::Duration::from_millis(500));
            drop(held);
        }
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal} {format}");
        let left = if format == "nohup" { vec![String::from("x.dump")] } else { Vec::new() };
        assert_eq!(names(&scene.work()), left, "{signal} {format}");
        scene.cluster.wait_until("not exists (select from pg_stat_activity where application_name like 'pgdumpd/%')");
    }
}

/// A tar's largest table is asked for before the dump, without waiting for whoever has locked it: the dump's own limit is the one that counts.
#[test]
fn a_tars_largest_table_is_asked_for_without_waiting_for_locks() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let held = crate::directory::hold_lock(&scene);
    let mut command = scene.alone_command(&[]);
    command.args(["backup", "--url", &url, "--output", "x.tar"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // pg_dump has begun, which it does after the question; the session that asked is not what waits.
    scene.cluster.wait_until(
        "exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and application_name not like '% %' and wait_event_type = 'Lock')",
    );
    drop(held);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_projects_backup_shows_what_pg_dump_says_where_that_is_wanted() {
    let scene = Scene::new();
    scene.configure("");
    let ended = scene.rig.run(&["backup", "shop", "--verbose"]);
    assert!(ended.code == 0 && ended.stderr.contains("dumping contents of table \"public.item\""), "{ended:?}");
    // It is the same kind of backup as without.
    let quiet = scene.rig.run(&["backup", "shop"]);
    assert!(quiet.code == 0 && !quiet.stderr.contains("dumping contents"), "{quiet:?}");
    let manifests: Vec<_> = scene.rig.backups().iter().map(|backup| scene.manifest(backup)).collect();
    assert_eq!(manifests.len(), 2);
    assert!(manifests.iter().all(|manifest| manifest["selection"] == "full" && manifest.get("options").is_none()), "{manifests:#?}");
}
