//! A backup that is being restored: nobody prunes it, and nobody sweeps the scratch it is unpacked in.

use std::process::Stdio;

use crate::cluster::bin;
use crate::rig::{Ended, wait_until};
use crate::scene::{LONG, Running, SHOP, Scene};

/// A `pg_restore` that says that it was started, and goes on when it is told to.
fn waiting(scene: &Scene) -> String {
    let (path, programs) = (scene.rig.path().display(), bin());
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *--no-password*) touch {path}/started; while [ ! -e {path}/go ]; do sleep 0.1; done ;; esac\n\
         exec {}/pg_restore \"$@\"\n",
        programs.display()
    );
    format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", &script)]))
}

fn start(scene: &Scene, backup: &str) -> Running {
    let mut command = scene.rig.command();
    let child = command.args(["restore", backup, "--to", "new"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    wait_until(LONG, || String::from("pg_restore"), || scene.rig.path().join("started").exists());
    running
}

fn go_on(scene: &Scene, mut running: Running) {
    std::fs::write(scene.rig.path().join("go"), "").unwrap();
    assert_eq!(running.wait(), 0, "{:?}", scene.audit());
    assert_eq!(scene.fingerprint("new"), scene.fingerprint("shop"));
}

fn ids(scene: &Scene) -> Vec<String> {
    scene.rig.backups().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_backup_that_is_being_restored_is_pruned_only_afterwards() {
    let scene = Scene::bare(crate::cluster::Cluster::start(), SHOP);
    let configure = |more: &str| scene.configure(&format!("format = \"tar\"\n{more}\n{}", waiting(&scene)));
    configure("retention = { keep_last = 9 }");
    (0..3).for_each(|_| scene.backup());
    let before = ids(&scene);
    let running = start(&scene, &before[1]);
    configure("retention = { keep_last = 1 }");
    let prune = |more: &[&str]| -> Ended { scene.rig.run(&[&["prune", "shop", "--confirm"], more].concat()) };
    let ended = prune(&[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let words = format!("the backup {} is being restored just now", before[1]);
    assert!(ended.stdout.contains("1 backup removed") && ended.stderr.contains(&words), "{ended:?}");
    assert_eq!(ids(&scene), before[..2], "the oldest went, the one in use did not");
    assert_eq!(prune(&["--json"]).json()[0]["result"]["in_use"][0], before[1].as_str());
    go_on(&scene, running);
    // The newest is proven as well, so that nothing else keeps the older one.
    scene.restored("again", &[]);
    assert_eq!(prune(&[]).code, 0);
    assert_eq!(ids(&scene), before[..1]);
    assert_eq!(scene.rig.stored().iter().filter(|name| name.contains(&before[1])).count(), 0);
}

#[test]
fn a_backup_made_meanwhile_does_not_sweep_the_scratch_of_a_restore() {
    let scene = Scene::bare(crate::cluster::Cluster::start(), SHOP);
    scene.configure(&format!("format = \"directory\"\n{}", waiting(&scene)));
    scene.backup();
    let running = start(&scene, "shop@latest");
    // It repairs and sweeps first, and isn't kept waiting by who only reads.
    scene.backup();
    go_on(&scene, running);
    let left = std::fs::read_dir(scene.rig.storage().join("shop")).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().contains("tmp-")).count(), 0, "its scratch goes with it");
}

#[test]
fn a_backup_that_is_being_removed_is_not_restored() {
    let scene = Scene::new(SHOP);
    let stored = scene.rig.stored();
    let artifact = stored.iter().find(|name| std::path::Path::new(name).extension().is_some_and(|ending| ending == "zst")).unwrap();
    let file = std::fs::File::open(scene.rig.storage().join(artifact)).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let ended = scene.restore("new", &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("was removed, as the retention no longer keeps it") && ended.stderr.contains("pgdumpd list shop"),
        "{ended:?}"
    );
    drop(file);
    scene.restored("new", &[]);
}
