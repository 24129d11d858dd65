//! `delete`, and what the other commands say of backups whose files somebody took away.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::Bench;
use crate::rig::wait_until;

/// A project with some backups, oldest first, and what they are called.
fn with_backups(bench: &Bench, count: usize) -> Vec<(String, PathBuf)> {
    bench.rig.configure(&bench.project("shop", "shop", ""));
    (0..count)
        .map(|_| {
            let run = bench.run(0, &["backup", "shop", "--json"]).json()["runs"][0].clone();
            let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
            (text(&run["run"]["id"]), PathBuf::from(text(&run["outputPath"])))
        })
        .collect()
}

fn beside(artifact: &std::path::Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", artifact.display()))
}

#[test]
fn one_backup_goes_by_hand_and_what_would_be_a_loss_only_on_a_word_more() {
    let bench = Bench::new();
    let made = with_backups(&bench, 3);
    let [(oldest, file), (middle, _), (newest, _)] = &made[..] else { panic!("{made:?}") };
    bench.run(0, &["verify", middle]);
    let would = bench.run(0, &["delete", oldest, "--dry-run"]).stdout;
    assert!(would.contains("would be removed") && would.contains(file.file_name().unwrap().to_str().unwrap()), "{would}");
    assert_eq!(bench.rig.backups().len(), 3);
    let gone = bench.run(0, &["delete", oldest, "--json"]).json();
    assert_eq!((&gone["success"], gone["deletedFile"].as_str()), (&true.into(), file.file_name().unwrap().to_str()));
    assert!(gone["freedSpace"].as_u64().is_some_and(|bytes| bytes > 1000), "{gone}");
    assert!(!file.exists() && !beside(file, "json").exists());
    // A pin holds against everything, a loss is named first.
    bench.run(0, &["pin", middle]);
    assert!(bench.told(1, &["delete", middle]).contains("pgdumpd unpin"));
    bench.run(0, &["unpin", middle]);
    let told = bench.told(1, &["delete", middle]);
    assert!(told.contains("is the best proven backup of shop (full)") && told.contains("--confirm"), "{told}");
    assert!(bench.told(1, &["delete", newest]).contains("is the newest good backup of shop (full)"));
    assert_eq!(bench.rig.backups().len(), 2);
    bench.run(0, &["delete", newest, "--confirm"]);
    assert!(bench.told(1, &["delete", "shop@latest"]).contains("is the only good backup of shop (full)"));
    bench.run(0, &["delete", "shop@latest", "--confirm"]);
    assert_eq!(bench.rig.stored(), Vec::<String>::new());
    assert!(bench.told(1, &["delete", newest]).contains("there is no backup"));
    let audit = bench.run(0, &["audit", "shop"]).stdout;
    assert_eq!(audit.matches(" delete ").count(), 7, "{audit}");
}

#[test]
fn a_backup_in_use_or_of_a_locked_project_is_not_deleted() {
    let bench = Bench::new();
    let made = with_backups(&bench, 2);
    let (oldest, file) = &made[0];
    let reader = std::fs::File::open(file).expect("the artifact");
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).expect("a mark");
    assert!(bench.told(11, &["delete", oldest]).contains("is being restored just now"));
    drop(reader);
    // A stranger who took the lock is left alone, and waited for.
    let files = std::fs::read_dir(file.parent().unwrap()).unwrap().flatten().map(|entry| entry.path());
    let lock = files.into_iter().find(|path| path.display().to_string().ends_with("-lock")).expect("a lock file");
    let lock = std::fs::File::open(lock).expect("open");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
    bench.told(11, &["delete", oldest]);
    drop(lock);
    assert_eq!(bench.rig.backups().len(), 2);
    bench.run(0, &["delete", oldest]);
}

#[test]
fn what_was_taken_away_is_told_at_once_and_can_be_given_up() {
    let bench = Bench::new();
    let made = with_backups(&bench, 2);
    let (newest, file) = &made[1];
    bench.run(0, &["status"]);
    std::fs::remove_file(file).expect("taken away");
    let row = |id: &str| bench.rig.backups().into_iter().find(|row| row["id"] == id).expect("a row");
    assert!(row(newest)["damaged"].as_str().is_some_and(|why| why.ends_with("is missing")), "{}", row(newest));
    let listed = bench.run(0, &["list"]);
    assert!(listed.stdout.contains("GONE") && listed.stderr.contains(&format!("pgdumpd delete {newest}")), "{listed:?}");
    let standing = bench.run(1, &["status"]).stdout;
    assert!(standing.contains("PROBLEM the newest good backup of shop/shop is GONE: the artifact"), "{standing}");
    let doctor = bench.run(1, &["doctor"]).stdout;
    assert!(doctor.contains("files of a backup are gone, and pgdumpd did not remove them: shop/"), "{doctor}");
    // It counts as damaged once it was looked at; nothing is lost any more by giving it up.
    bench.run(1, &["verify", newest]);
    assert!(bench.run(1, &["status"]).stdout.contains("is DAMAGED"));
    let freed = bench.run(0, &["delete", newest, "--json"]).json();
    assert_eq!(freed["loss"], serde_json::Value::Null);
    assert!(!beside(file, "json").exists() && !beside(file, "proof.json").exists());
    let standing = bench.run(0, &["status"]).stdout;
    assert!(!standing.contains("DAMAGED") && !standing.contains("GONE"), "{standing}");
    // A dump without its manifest is no backup; it is named, and can be read.
    let (oldest, bare) = &made[0];
    std::fs::remove_file(beside(bare, "json")).expect("taken away");
    let listed = bench.run(0, &["list"]);
    assert!(listed.stdout.contains("GONE") && listed.stderr.contains("manifest"), "{listed:?}");
    let doctor = bench.run(1, &["doctor"]).stdout;
    assert!(doctor.contains("a file belongs to no backup: shop/"), "{doctor}");
    assert!(bench.run(0, &["show", &bare.display().to_string(), "--tables"]).stdout.contains("orders"));
    bench.run(0, &["delete", oldest]);
    assert_eq!(bench.rig.stored(), Vec::<String>::new());
}

#[test]
fn backups_of_a_project_that_is_no_longer_configured_can_be_deleted() {
    let bench = Bench::new();
    let made = with_backups(&bench, 2);
    bench.rig.configure(&bench.project("other", "billing", ""));
    bench.run(0, &["delete", &made[0].0]);
    bench.run(0, &["delete", &made[1].0, "--confirm"]);
    assert_eq!(bench.rig.stored(), Vec::<String>::new());
}

#[test]
fn a_removal_that_was_cut_off_is_gone_on_with() {
    let bench = Bench::new();
    let made = with_backups(&bench, 2);
    let (oldest, file) = &made[0];
    // Killed at its first unlink, which is the manifest's: the catalog knows that it was begun.
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", "inject=unlinkat:signal=KILL:when=1"]);
    let binary = bench.rig.command();
    command.arg(binary.get_program()).args(["delete", oldest]).env_clear().envs(bench.rig.env.iter().cloned());
    let ended = command.current_dir(bench.rig.path()).output().expect("strace");
    assert!(!ended.status.success(), "{ended:?}");
    assert!(file.exists());
    let mut daemon = bench.rig.serve();
    wait_until(Duration::from_secs(60), || daemon.log(), || !file.exists() && !beside(file, "json").exists());
    daemon.signal("TERM");
    daemon.wait(Duration::from_secs(60));
    assert_eq!(bench.rig.backups().len(), 1);
}
