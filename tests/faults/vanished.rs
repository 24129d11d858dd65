//! Row 52: somebody else removes backups from the storage.

use pgdumpd::catalog::Page;
use pgdumpd::clock::Clock;
use pgdumpd::notify::Message;
use pgdumpd::ops::notice::{self, Desk, Hands};
use pgdumpd::ops::{World, reindex};

use crate::scene::Scene;

#[test]
fn f52_backups_that_somebody_else_removed_are_told_once() {
    let scene = Scene::new("", "");
    let backups = scene.rig.backups();
    let oldest = backups.last().and_then(|row| row["file"].as_str()).expect("a backup");
    let aside = scene.rig.path().join("aside");
    std::fs::create_dir(&aside).expect("a folder");
    let take_away = |from: &std::path::Path, to: &std::path::Path| {
        for file in std::fs::read_dir(from).expect("the folder").flatten() {
            if file.file_name().to_string_lossy().starts_with(oldest) {
                std::fs::rename(file.path(), to.join(file.file_name())).expect("moved");
            }
        }
    };
    take_away(&scene.rig.storage().join("shop"), &aside);
    let file = scene.rig.path().join("pgdumpd.toml");
    let settings = pgdumpd::config::load(&file, &|_| None).expect("the configuration");
    let world = World::open(&settings, Clock::system()).expect("a world");
    let desk = Desk { settings: &settings, config_file: None, hands: Hands::Daemon };
    // As the daemon does every hour.
    let look = || {
        let seen = reindex::look(&world);
        assert!(seen.whole, "{seen:?}");
        notice::lost(&world, &desk).expect("told")
    };
    assert_eq!(look(), 1);
    assert_eq!(look(), 0, "told once");
    let letters = world.catalog.read(|reader| reader.letters::<Message>(None, Page::all())).expect("letters");
    let letter = letters.into_iter().map(|letter| letter.message).find(|message| message.event == "lost").expect("the letter");
    assert!(letter.subject.contains("LOST shop: 1 backup is gone"), "{letter:?}");
    assert!(letter.body.contains("The newest good backup of shop that is left"), "{letter:?}");
    assert_eq!(scene.rig.backups().len(), backups.len() - 1);
    // What is brought back is found as well.
    take_away(&aside, &scene.rig.storage().join("shop"));
    assert_eq!((look(), scene.rig.backups().len()), (0, backups.len()));
    // What pgdumpd removes itself is nobody's loss.
    scene.configure(1);
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    assert_eq!(look(), 0);
}

#[test]
fn f52_a_manifest_alone_is_told_apart_and_nothing_is_told_twice() {
    let scene = Scene::new("", "");
    let backups = scene.rig.backups();
    let file = |row: &serde_json::Value| scene.rig.storage().join("shop").join(row["file"].as_str().expect("a file"));
    let manifest = |row: &serde_json::Value| std::path::PathBuf::from(format!("{}.json", file(row).display()));
    let settings = pgdumpd::config::load(&scene.rig.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
    let world = World::open(&settings, Clock::system()).expect("a world");
    let desk = Desk { settings: &settings, config_file: None, hands: Hands::Daemon };
    let look = || {
        assert!(reindex::look(&world).whole);
        let mails = notice::lost(&world, &desk).expect("told");
        mails + notice::damages(&world, &desk).expect("told")
    };
    let subjects = || {
        let letters = world.catalog.read(|reader| reader.letters::<Message>(None, Page::all())).expect("letters");
        letters.into_iter().map(|letter| letter.message).filter(|message| message.subject.contains("LOST")).collect::<Vec<_>>()
    };
    std::fs::remove_file(manifest(&backups[1])).expect("taken away");
    assert_eq!(look(), 1);
    let told = subjects();
    assert!(told[0].subject.contains("LOST shop: a backup's manifest is gone"), "{told:?}");
    let line = format!("show {}", file(&backups[1]).display());
    assert!(told[0].body.contains("the dump itself") && told[0].body.contains(&line), "{told:?}");
    // A verification tells of what is gone; the next look finds no more than that.
    std::fs::remove_file(file(&backups[0])).expect("taken away");
    std::fs::remove_file(manifest(&backups[0])).expect("taken away");
    let verified = scene.rig.run(&["verify", backups[0]["id"].as_str().expect("an id")]);
    assert_eq!(verified.code, 1, "{verified:?}");
    assert_eq!(subjects().len(), 2, "{verified:?} {:?}", subjects());
    assert_eq!((look(), subjects().len()), (0, 2), "{:?}", subjects());
}
