//! A daemon that starts without one of its secrets serves all that doesn't need it, and tells of the rest.

use crate::support::{LONG, NO_MAIL, Place, ended, outbox, until};

#[test]
fn a_start_without_one_secret_serves_the_other_projects_and_mails_of_that_one() {
    let place = Place::new();
    let gone = place.rig.path().join("gone");
    let schedule = "[[project.schedule]]\nname = \"often\"\ncron = \"*/3 * * * * *\"\n";
    let secret = format!("password = {{ file = {gone:?} }}\n");
    let smtp = format!("{NO_MAIL}username = \"p\"\n{secret}");
    let both = format!("{smtp}{}{}", place.project("good", schedule), place.project("bad", &format!("{secret}{schedule}")));
    place.rig.configure(&both);
    let mut serving = place.rig.serve();
    until(&serving, "the other one is backed up", || ended(&place.rig, "good", "ok") >= 1);
    until(&serving, "that one fails", || ended(&place.rig, "bad", "failed") >= 1);
    let why = format!("secret {} can't be read", gone.display());
    let log = serving.log();
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains("project \"bad\": password") && line.contains(&why)), "{log}");
    let says = |letter: &serde_json::Value| {
        letter["body"].as_str().is_some_and(|body| body.replace('\n', " ").contains(&format!("Secret {} can't be read", gone.display())))
    };
    until(&serving, "it is mailed", || outbox(&place.rig).iter().any(says));
    until(&serving, "the mail waits", || outbox(&place.rig).iter().any(|letter| letter["error"].to_string().contains(&why)));
    let status = place.rig.run(&["status"]);
    assert!(status.code == 1 && status.stdout.contains(&format!("the last try failed: {why}")), "{status:?}");
    serving.signal("HUP");
    serving.wait_for_log("the configuration was not changed", LONG);
    let made = ended(&place.rig, "good", "ok");
    until(&serving, "it goes on", || ended(&place.rig, "good", "ok") > made);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn a_secret_that_only_the_daemon_knows_is_a_note_as_long_as_it_serves() {
    let place = Place::new();
    let project = |secret: &str| place.project("shop", &format!("password = {{ {secret} }}\n"));
    let variable = "env = \"SHOP_PASSWORD\"";
    place.rig.configure(&project(variable));
    let mut command = place.rig.command();
    command.env("SHOP_PASSWORD", "opensesame");
    let mut serving = place.rig.serve_by(command);
    serving.wait_for_log("ready", LONG);
    until(&serving, "all is well", || place.rig.run(&["status"]).code == 0);
    let told = place.rig.run(&["status"]).stdout;
    assert!(
        told.contains("password: this secret is known to the daemon only, which serves with it: variable SHOP_PASSWORD is not set"),
        "{told}"
    );
    assert!(!told.contains("PROBLEM"), "{told}");
    let told = place.rig.run(&["doctor"]);
    assert!(told.code == 0 && told.stdout.contains("this secret is known to the daemon only"), "{told:?}");
    assert!(told.stdout.contains("could not be tried from here"), "{told:?}");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let told = place.rig.run(&["status"]);
    assert!(told.code == 1 && told.stdout.contains("PROBLEM") && told.stdout.contains("variable SHOP_PASSWORD is not set"), "{told:?}");

    // A daemon that lacks it as well is no comfort, and a file is the same for everybody.
    for secret in [variable, "file = \"/nonexistent/password\""] {
        place.rig.configure(&project(secret));
        let serving = place.rig.serve();
        serving.wait_for_log("ready", LONG);
        until(&serving, "it serves", || place.rig.run(&["status", "--alive"]).code == 0);
        let told = place.rig.run(&["status"]);
        assert!(told.code == 1 && told.stdout.contains("PROBLEM") && !told.stdout.contains("daemon only"), "{secret}: {told:?}");
    }
}
