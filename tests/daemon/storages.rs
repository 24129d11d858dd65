//! A storage that gets another name while a daemon serves.

use crate::support::{LONG, Place, ended, until};

/// Gives the one storage of the written configuration this name.
fn call(place: &Place, storage: &str) {
    let file = place.rig.path().join("pgdumpd.toml");
    let text = std::fs::read_to_string(&file).expect("configuration").replace("[storage.main]", &format!("[storage.{storage}]"));
    std::fs::write(file, text).expect("configuration");
}

fn storages(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = place.rig.backups().iter().map(|row| row["storage"].as_str().unwrap_or_default().to_owned()).collect();
    names.dedup();
    names
}

#[test]
fn a_storage_that_is_renamed_under_a_daemon_goes_on_with_the_next_reload_also_for_what_runs() {
    let place = Place::new();
    let clients = place.held_clients();
    let configure = |storage: &str, cron: &str| {
        let more = format!("{clients}\nstorage = [{storage:?}]\nretention = {{ keep_last = 2 }}");
        place.rig.configure(&place.project("shop", &format!("{more}\n[[project.schedule]]\nname = \"often\"\ncron = \"{cron}\"\n")));
        call(&place, storage);
    };
    configure("main", "*/2 * * * * *");
    let mut serving = place.rig.serve();
    until(&serving, "two backups", || ended(&place.rig, "shop", "ok") >= 2);
    place.hold();
    let begun = || std::fs::read_to_string(place.rig.path().join("dumps")).unwrap_or_default();
    until(&serving, "a dump runs", || begun().matches('+').count() > begun().matches('-').count());
    let before = place.rig.backups();

    configure("disk", "0 0 1 1 *");
    let id = before[0]["id"].as_str().expect("an id");
    let told = place.rig.run(&["verify", id]);
    assert!(told.code == 1 && told.stderr.contains("the daemon goes by the old name") && told.stderr.contains("reload"), "{told:?}");
    assert_eq!(storages(&place), ["main"], "the daemon's names count");
    serving.signal("HUP");
    serving.wait_for_log("the storage \"main\" is called \"disk\" now", LONG);
    assert_eq!(storages(&place), ["disk"]);
    place.release();
    until(&serving, "what ran ends", || place.rig.backups().len() > before.len());
    assert_eq!(storages(&place), ["disk"], "the backup of the job that began before, too");
    assert_eq!(place.rig.run(&["verify", "shop"]).code, 0);
    until(&serving, "the job ends", || ended(&place.rig, "shop", "claimed") == 0);
    let made = place.rig.run(&["backup", "shop"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!((place.rig.backups().len(), storages(&place)), (2, vec![String::from("disk")]), "the retention goes on");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let starts = serving.log().matches(" ready").count();
    let mut serving = place.rig.serve();
    until(&serving, "the second start", || serving.log().matches(" ready").count() > starts);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    assert_eq!(serving.log().matches("is called \"disk\" now").count(), 1, "told once: {}", serving.log());
}

#[test]
fn storages_do_not_change_places_under_a_daemon() {
    let place = Place::new();
    let project = |name: &str, storage: &str| place.project(name, &format!("storage = [{storage:?}]\n"));
    let configure = |one: &str, two: &str| {
        let more = format!("[storage.{two}]\ntype = \"local\"\npath = {:?}\nreserve = \"0\"\n", place.rig.path().join("two"));
        place.rig.configure(&format!("{more}{}{}", project("shop", one), project("billing", two)));
        call(&place, one);
    };
    configure("a", "b");
    assert_eq!(place.rig.run(&["backup", "--all"]).code, 0);
    let storage = |name: &str| {
        let rows = place.rig.backups();
        rows.iter().find(|row| row["project"] == name).map(|row| row["storage"].to_string()).expect("a backup")
    };
    let mut serving = place.rig.serve();
    serving.wait_for_log("ready", LONG);
    configure("b", "a");
    serving.signal("HUP");
    serving.wait_for_log("can't be exchanged while running; restart pgdumpd", LONG);
    assert_eq!((storage("shop").as_str(), storage("billing").as_str()), ("\"a\"", "\"b\""));
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let serving = place.rig.serve();
    until(&serving, "the names of now", || storage("shop") == "\"b\"" && storage("billing") == "\"a\"");
    assert_eq!(place.rig.run(&["verify", "shop"]).code, 0);
    assert_eq!(place.rig.run(&["verify", "billing"]).code, 0);
}

#[test]
fn f29a_a_daemon_that_idles_tells_of_a_storage_that_vanished() {
    let place = Place::new();
    place.rig.configure(&place.project("shop", "schedule = [{ name = \"yearly\", cron = \"0 0 1 1 *\" }]"));
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    let mut serving = place.rig.serve();
    serving.wait_for_log("ready", LONG);
    let elsewhere = place.rig.path().join("elsewhere");
    std::fs::rename(place.rig.storage(), &elsewhere).expect("unmounted");
    std::fs::create_dir(place.rig.storage()).expect("a mount point");
    let words = "storage \"main\" has no marker file: not mounted?";
    serving.wait_for_log(&format!("no backup can be made: {words}; mount it"), LONG);
    serving.signal("USR1");
    serving.wait_for_log(&format!("state: 1 project, 0 running, 0 waiting; {words}"), LONG);
    assert_eq!(std::fs::read_dir(place.rig.storage()).expect("the mount point").count(), 0);
    std::fs::remove_dir(place.rig.storage()).expect("removed");
    std::fs::rename(&elsewhere, place.rig.storage()).expect("mounted");
    serving.wait_for_log("the storage is no longer missed", LONG);
    assert_eq!(serving.log().matches("no backup can be made").count(), 1, "{}", serving.log());
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}
