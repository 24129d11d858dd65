//! HUP: a broken file changes nothing and is told, a good one says what it changes, and running jobs keep what they started with.

use crate::support::{LONG, Place, ended, slots, until};

#[test]
fn f43_a_broken_file_changes_nothing_and_is_told() {
    let place = Place::new();
    let schedule = "[[project.schedule]]\nname = \"often\"\ncron = \"*/3 * * * * *\"\n";
    let good = place.project("shop", schedule);
    place.rig.configure(&good);
    let mut serving = place.rig.serve();
    until(&serving, "it runs", || ended(&place.rig, "shop", "ok") >= 1);

    place.rig.configure(&good.replace("cron = \"*/3", "corn = \"*/3"));
    serving.signal("HUP");
    serving.wait_for_log("the configuration was not changed", LONG);
    let log = serving.log();
    assert!(log.contains("pgdumpd.toml:") && log.contains("corn") && log.contains("did you mean cron?"), "file, line and key:\n{log}");
    let runs = ended(&place.rig, "shop", "ok");
    until(&serving, "it goes on as before", || ended(&place.rig, "shop", "ok") >= runs + 2);
    // The file that `status` reads is the broken one; it is told with the good one beside it.
    let told = place.rig.run(&["status"]);
    assert!(told.code == 1 && told.stdout.contains("corn") && told.stdout.contains("goes on with what it read"), "{told:?}");
    place.rig.configure_with("time_zone = \"UTC\"\n", &good);
    let told = place.rig.run(&["status"]);
    assert!(told.code == 1 && told.stdout.contains("not in force"), "{told:?}");

    serving.signal("HUP");
    serving.wait_for_log("read again, nothing changed", LONG);
    until(&serving, "the error is over", || place.rig.run(&["status"]).code == 0);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn f43_what_a_reload_could_not_read_is_no_problem_any_more_after_a_start_with_a_mended_file() {
    let place = Place::new();
    place.rig.configure(&place.project("shop", ""));
    let mut serving = place.rig.serve();
    serving.wait_for_log("ready", LONG);
    place.rig.configure(&place.project("shop", "corn = 1\n"));
    serving.signal("HUP");
    serving.wait_for_log("the configuration was not changed", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    place.rig.configure(&place.project("shop", ""));
    let serving = place.rig.serve();
    until(&serving, "it serves again", || place.rig.run(&["status", "--json"]).json()["daemon"]["state"] == "serving");
    let told = place.rig.run(&["status"]);
    assert!(told.code == 0 && !told.stdout.contains("PROBLEM"), "{told:?}");
}

#[test]
fn f43_a_file_that_is_gone_or_unreadable_changes_nothing() {
    let place = Place::new();
    place.rig.configure(&place.project("shop", "[[project.schedule]]\nname = \"often\"\ncron = \"*/3 * * * * *\"\n"));
    let serving = place.rig.serve();
    serving.wait_for_log("ready", LONG);
    let file = place.rig.path().join("pgdumpd.toml");
    std::fs::rename(&file, place.rig.path().join("away")).expect("rename");
    serving.signal("HUP");
    serving.wait_for_log("the configuration was not changed", LONG);
    until(&serving, "it runs all the same", || ended(&place.rig, "shop", "ok") >= 1);
}

#[test]
fn f43_a_good_file_takes_effect_and_says_which() {
    let place = Place::new();
    let schedule = |cron: &str| format!("[[project.schedule]]\nname = \"s\"\ncron = \"{cron}\"\n");
    let never = schedule("0 0 1 1 *");
    let first = [place.project("stays", &never), place.project("goes", &schedule("*/2 * * * * *")), place.project("turns", &never)];
    place.rig.configure(&first.concat());
    let serving = place.rig.serve();
    until(&serving, "the one that will go runs", || ended(&place.rig, "goes", "ok") >= 1);
    let second = [
        place.project("stays", &never),
        place.project("turns", &schedule("*/2 * * * * *")),
        place.project("comes", &schedule("*/2 * * * * *")),
    ];
    place.rig.configure_with("max_parallel = 3\n", &second.concat());
    serving.signal("HUP");
    serving.wait_for_log("[daemon] changed", LONG);
    let log = serving.log();
    for words in ["project \"goes\" removed", "project \"comes\" added", "project \"turns\" changed"] {
        assert!(log.contains(words), "{words}:\n{log}");
    }
    assert!(!log.contains("project \"stays\" changed"), "{log}");
    let gone = slots(&place.rig).iter().filter(|slot| slot.project == "goes").count();
    until(&serving, "the new ones run", || ended(&place.rig, "turns", "ok") >= 2 && ended(&place.rig, "comes", "ok") >= 2);
    let later = slots(&place.rig).iter().filter(|slot| slot.project == "goes").count();
    assert!(later <= gone + 1, "the removed one is no longer due: {gone}, then {later}");
    let standing = place.rig.run(&["status", "--json"]).json();
    assert_eq!(standing["orphaned"], serde_json::json!(["goes"]), "its backups stay and are listed");
}

#[test]
fn f43_running_jobs_keep_the_configuration_they_began_with() {
    let place = Place::new();
    let clients = place.held_clients();
    let project = |compression: &str| {
        place.project("shop", &format!("{clients}\ncompression = \"{compression}\"\n[[project.schedule]]\nname = \"s\"\nevery = \"1h\"\n"))
    };
    place.rig.configure(&project("gzip"));
    place.hold();
    let serving = place.rig.serve();
    until(&serving, "a dump runs", || place.rig.path().join("dumps").exists());
    place.rig.configure(&project("none"));
    serving.signal("HUP");
    serving.wait_for_log("project \"shop\" changed", LONG);
    place.release();
    until(&serving, "it ends", || ended(&place.rig, "shop", "ok") == 1);
    let stored = place.rig.stored();
    assert!(stored.iter().any(|name| name.ends_with(".dump.gz")), "{stored:?}");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    let stored = place.rig.stored();
    assert!(
        stored.iter().any(|name| std::path::Path::new(name).extension().is_some_and(|last| last == "dump")),
        "the next one is as configured now: {stored:?}"
    );
}

#[test]
fn f43_the_state_folder_stays_where_it_is() {
    let place = Place::new();
    place.rig.configure("");
    let serving = place.rig.serve();
    serving.wait_for_log("ready", LONG);
    let file = place.rig.path().join("pgdumpd.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    let elsewhere = place.rig.path().join("elsewhere");
    std::fs::write(&file, text.replace(&place.rig.state().display().to_string(), &elsewhere.display().to_string())).expect("the file");
    serving.signal("HUP");
    serving.wait_for_log("state_dir can't be changed while running", LONG);
    assert!(!elsewhere.exists());
    std::fs::write(&file, text).expect("the file");
    let told = place.rig.run(&["status"]);
    assert!(told.code == 1 && told.stdout.contains("state_dir"), "{told:?}");
}

#[test]
fn f43_what_waits_for_a_place_goes_by_the_new_configuration() {
    let place = Place::new();
    let clients = place.held_clients();
    let project =
        |name: &str, more: &str| place.project(name, &format!("{clients}\n{more}\n[[project.schedule]]\nname = \"s\"\nevery = \"1h\"\n"));
    let zipped = "compression = \"gzip\"";
    place.rig.configure(&["first", "shop", "goes", "off", "other"].map(|name| project(name, zipped)).concat());
    place.hold();
    let serving = place.rig.serve();
    until(&serving, "the first runs", || place.rig.path().join("dumps").exists());
    until(&serving, "the others wait", || ["shop", "goes", "off", "other"].iter().all(|name| ended(&place.rig, name, "claimed") == 1));
    let other = project("other", zipped).replace("name = \"s\"\nevery = \"1h\"", "name = \"t\"\ncron = \"0 0 1 1 *\"");
    place.rig.configure(
        &[project("first", zipped), project("shop", "compression = \"none\""), project("off", "enabled = false"), other].concat(),
    );
    serving.signal("HUP");
    serving.wait_for_log("project \"off\" changed", LONG);
    place.release();
    until(&serving, "what is left of them ends", || ["shop", "other"].iter().all(|name| ended(&place.rig, name, "ok") == 1));
    let stored = place.rig.stored();
    let of_shop: Vec<&String> = stored.iter().filter(|name| name.starts_with("shop/")).collect();
    assert!(!of_shop.is_empty() && !of_shop.iter().any(|name| name.contains(".gz")), "{stored:?}");
    for name in ["goes", "off"] {
        assert_eq!(ended(&place.rig, name, "skipped_disabled"), 1, "{name}: {:?}", slots(&place.rig));
        assert!(!stored.iter().any(|file| file.starts_with(name)), "{stored:?}");
    }
}
