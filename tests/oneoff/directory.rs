//! `format = "directory"`: several jobs, one tar, the same promise; and the faults of its way through the scratch folder.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::rig::wait_until;
use crate::scene::{PATIENCE, Scene, clients};

const DIRECTORY: &str = "format = \"directory\"\njobs = 2";

/// Everything in the project's folder, the lock's file left out.
fn files(scene: &Scene) -> Vec<String> {
    let folder = std::fs::read_dir(scene.rig.storage().join("shop")).into_iter().flatten().flatten();
    let mut names: Vec<String> = folder.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".pgdumpd-lock");
    names.sort();
    names
}

/// The scratch folder of the run at work.
fn scratch(scene: &Scene) -> Option<PathBuf> {
    let folder = std::fs::read_dir(scene.rig.storage().join("shop")).ok()?.flatten();
    folder.map(|entry| entry.path()).find(|path| path.is_dir() && path.join("archive").exists())
}

#[test]
fn a_directory_dump_is_restored_by_its_line() {
    for (extra, ending, rows) in
        [("", ".dir.tar.zst", true), ("compression = \"none\"", ".dir.tar", true), ("compression = \"native\"", ".dir.tar", false)]
    {
        let scene = Scene::new();
        scene.configure(&format!("{DIRECTORY}\n{extra}"));
        let ended = scene.rig.run(&["backup", "shop"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let backups = scene.rig.backups();
        let manifest = scene.manifest(&backups[0]);
        assert!(backups[0]["file"].as_str().unwrap().ends_with(ending), "{backups:?}");
        assert_eq!(manifest["dump_format"], "directory");
        assert_eq!((&manifest["structure"], &manifest["large_objects"]), (&"whole".into(), &3.into()));
        assert_eq!(manifest["tables"].as_array().unwrap().len(), 2);
        if rows {
            assert_eq!(manifest["table_counts"]["public.Größe; x"], 20_000, "{manifest:#}");
            assert_eq!(manifest["table_counts"]["public.item"], 500);
        } else {
            assert_eq!(manifest["table_counts"], serde_json::json!({}), "compressed rows are unknown, not wrong");
        }
        assert_eq!(files(&scene).len(), 2, "the scratch is gone: {:?}", files(&scene));
        let line = manifest["restore_command"].as_str().unwrap();
        assert!(line.contains("pg_restore --exit-on-error -j 4"), "{line}");
        scene.restore(&scene.rig.storage().join("shop"), line, "again");
        assert_eq!(scene.contents("again"), scene.contents("shop"));
    }
}

/// The jobs are real: while one waits for a lock, its siblings are connected.
#[test]
fn a_directory_dump_uses_its_jobs() {
    let scene = Scene::new();
    scene.configure("format = \"directory\"\njobs = 3");
    let seen = scene.rig.path().join("arguments");
    let bin = clients();
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\nexec {bin}/pg_dump \"$@\"\n", seen.display());
    let clients = scene.rig.clients(&[("pg_dump", &script)]);
    scene.configure(&format!("format = \"directory\"\njobs = 3\npg_bin_dir = {clients:?}"));
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    let arguments = std::fs::read_to_string(seen).unwrap();
    assert!(arguments.contains("--format=directory --compress=0 --jobs=3"), "{arguments}");
}

/// A script for `pg_dump` that works like it and then does something to what it wrote.
fn afterwards(scene: &Scene, deed: &str) -> String {
    let bin = clients();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {bin}/pg_dump \"$@\";; esac\n\
         for word; do case \"$word\" in --file=*) folder=\"${{word#--file=}}\";; esac; done\n{bin}/pg_dump \"$@\" || exit\ncd \"$folder\" || exit\n{deed}\n"
    );
    format!("{DIRECTORY}\npg_bin_dir = {:?}", scene.rig.clients(&[("pg_dump", &script)]))
}

/// The parts must all be there, whatever `pg_dump`'s exit status says.
#[test]
fn a_directory_dump_that_lacks_something_is_no_backup() {
    for (deed, words) in [
        ("rm \"$(ls -S *.dat | grep -v toc | head -1)\"", "lacks its member"),
        ("rm blob_*.dat", "large objects"),
        ("rm toc.dat", "toc.dat"),
        ("truncate -s -3 \"$(ls -S *.dat | grep -v toc | head -1)\"", "without its end mark"),
        ("truncate -s 2000 toc.dat", "table of contents"),
        ("rm -r \"$folder\"", "toc.dat"),
        ("exit 3", "status 3"),
    ] {
        let scene = Scene::new();
        scene.configure(&afterwards(&scene, deed));
        let ended = scene.rig.run(&["backup", "shop"]);
        assert_eq!(ended.code, 1, "{deed}: {ended:?}");
        assert!(ended.stderr.contains(words), "{deed}: {ended:?}");
        assert!(files(&scene).is_empty() && scene.rig.backups().is_empty(), "{deed}: {:?}", files(&scene));
        scene.configure(DIRECTORY);
        assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0, "the next run after {deed}");
    }
}

/// `pg_dump` ended by a signal in the middle: the failure says so, and its files are gone.
#[test]
fn a_directory_dump_whose_pg_dump_is_killed_leaves_nothing() {
    let scene = Scene::new();
    let lock = hold_lock(&scene);
    scene.configure(DIRECTORY);
    let child = scene.rig.command().args(["backup", "shop"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(PATIENCE, || String::from("scratch"), || scratch(&scene).is_some());
    let dump = wait_for_dump(&scene);
    assert!(Command::new("kill").args(["-s", "KILL", &dump]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    drop(lock);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("pg_dump was ended by"), "{ended:?}");
    assert!(files(&scene).is_empty(), "{:?}", files(&scene));
    scene.cluster.wait_until("count(*) = 0 from pg_stat_activity where application_name like 'pgdumpd/%'");
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
}

/// A session that locks the large table until it is dropped.
pub(crate) fn hold_lock(scene: &Scene) -> Holding {
    let mut psql = scene.cluster.psql_command("shop").stdin(Stdio::piped()).spawn().unwrap();
    psql.stdin.as_mut().unwrap().write_all(b"set application_name = 'holder'; begin; lock table \"Gr\xc3\xb6\xc3\x9fe; x\";\n").unwrap();
    scene.cluster.wait_until("exists (select from pg_locks where mode = 'AccessExclusiveLock' and granted and relation is not null)");
    Holding(psql)
}

pub(crate) struct Holding(std::process::Child);

impl Drop for Holding {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The number of the `pg_dump` that works for this cluster.
fn wait_for_dump(scene: &Scene) -> String {
    let find = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let line = |pid: &String| std::fs::read(format!("/proc/{pid}/cmdline")).map(|line| String::from_utf8_lossy(&line).into_owned());
        let ours = format!(":{}/", scene.cluster.port);
        let mut found = processes.filter(|pid| line(pid).is_ok_and(|line| line.contains("/pg_dump\0") && line.contains(&ours)));
        found.next()
    };
    wait_until(PATIENCE, || String::from("pg_dump"), || find().is_some());
    find().unwrap()
}

/// Killed with SIGKILL while `pg_dump` works, and while its files are packed: the next run, or a start of the daemon, clears up.
#[test]
fn f20_killed_while_a_directory_dump_is_made_or_packed() {
    // At the moment when the scratch is there and nothing is in it: pg_dump's first deed is to end who started it.
    let clients = clients();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {clients}/pg_dump \"$@\";; esac\nkill -s KILL $PPID\nexec {clients}/pg_dump \"$@\"\n"
    );
    let scene = Scene::new();
    scene.configure(DIRECTORY);
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    let before = files(&scene);
    scene.configure(&format!("{DIRECTORY}\npg_bin_dir = {:?}", scene.rig.clients(&[("pg_dump", &script)])));
    let ended = scene.rig.command().args(["backup", "shop"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    scene.configure(DIRECTORY);
    cleared_up(&scene, &before, "making the scratch");

    for (calls, when, what) in [("unlink", "1", "packing the first file"), ("unlink", "4", "packing")] {
        let scene = Scene::new();
        scene.configure(DIRECTORY);
        assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
        let before = files(&scene);
        let plain = scene.rig.command();
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", &format!("-etrace={calls}")]);
        command.arg(format!("-einject={calls}:signal=KILL:when={when}")).arg(plain.get_program()).args(["backup", "shop"]);
        command.env_clear().envs(scene.rig.env.iter().map(|(key, value)| (key, value))).current_dir(scene.rig.path());
        let ended = command.stdin(Stdio::null()).output().expect("apt-get install strace");
        assert_eq!(ended.status.signal(), Some(9), "{what}: {ended:?}");
        cleared_up(&scene, &before, what);
    }
}

/// Something was left; a start of the daemon removes it, and the next run works.
fn cleared_up(scene: &Scene, before: &[String], what: &str) {
    assert!(files(scene).len() > before.len(), "{what}: nothing was left: {:?}", files(scene));
    let mut serving = scene.rig.serve();
    serving.wait_for_log(" ready", PATIENCE);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    assert_eq!(files(scene), before, "{what}: {}", serving.log());
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0, "the next run after {what}");
}

/// SIGTERM in the middle ends the run in good order.
#[test]
fn a_directory_dump_that_is_interrupted_leaves_nothing() {
    let scene = Scene::new();
    let _lock = hold_lock(&scene);
    scene.configure(DIRECTORY);
    let child = scene.rig.command().args(["backup", "shop"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(PATIENCE, || String::from("scratch"), || scratch(&scene).is_some());
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{ended:?}");
    assert!(files(&scene).is_empty(), "{:?}", files(&scene));
}

/// The room for the uncompressed files is looked at before `pg_dump` begins, and both figures are told; while it works, what it may not
/// fill is left.
#[test]
fn a_directory_dump_needs_room_for_its_scratch() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("a_directory_dump_needs_room_for_its_scratch", "mounting needs root");
    }
    let scene = Scene::new();
    let storage = scene.rig.storage();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&storage).status().unwrap();
    assert!(mounted.success());
    let _unmount = Unmount(storage);
    scene.cluster.psql_in("shop", "create table big as select i, repeat(md5(i::text), 4) as a from generate_series(1, 60000) i");
    scene.configure(DIRECTORY);
    let ended = scene.rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("4.0 MiB free beyond its reserve, but pg_dump's uncompressed files"), "{ended:?}");
    assert!(files(&scene).is_empty());
    // A selection isn't estimated from the database's size: it fills the disk, and is ended for that.
    scene.configure(&format!("{DIRECTORY}\ntables = [\"big\"]"));
    let ended = scene.rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("no room left") && ended.stderr.contains("free now"), "{ended:?}");
    assert!(files(&scene).is_empty(), "{:?}", files(&scene));
    scene.configure(&format!("{DIRECTORY}\nexclude_tables = [\"big\"]"));
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
