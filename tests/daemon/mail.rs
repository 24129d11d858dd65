//! FAULTS row 40 through the daemon: whatever the mail server does, backups go on and the mail is kept until it is delivered.

use std::net::TcpListener;
use std::time::Duration;

use crate::smtp::{Certificate, Deed, Script, Server};
use crate::support::{LONG, Place, WallClock, ended, outbox, until};

fn smtp(port: u16, security: &str, ca: Option<&Server>) -> String {
    let ca = ca.map(|server| format!("ca_file = {:?}\n", server.ca_file())).unwrap_or_default();
    format!(
        "[smtp]\nhost = \"localhost\"\nport = {port}\nsecurity = \"{security}\"\nfrom = \"p@example.org\"\nto = [\"oncall@example.org\"]\ntimeout = \"3s\"\n{ca}"
    )
}

/// A project that fails and one that is well, and mail settings that don't work at first: the letter waits, the backups go on, and once the
/// settings are mended the same letter goes out, once.
fn kept_and_retried(broken: &str, said: &str) {
    let place = Place::new();
    let good = place.project("good", "[[project.schedule]]\nname = \"s\"\ncron = \"*/3 * * * * *\"\n");
    let bad = place
        .project("bad", "databases = [\"nowhere\"]\n[project.limits]\nretries = []\n[[project.schedule]]\nname = \"s\"\nevery = \"1h\"\n");
    place.rig.configure(&format!("{broken}{good}{bad}"));
    let clock = WallClock::new(&place.rig, "+0");
    let mut serving = place.rig.serve_by(clock.command(&place.rig));
    let error = || outbox(&place.rig).first().and_then(|letter| letter["error"].as_str().map(str::to_owned)).unwrap_or_default();
    until(&serving, "the letter was tried", || !error().is_empty());
    let letters = outbox(&place.rig);
    assert_eq!((letters.len(), letters[0]["state"].as_str()), (1, Some("queued")), "{letters:?}");
    assert!(error().contains(said), "{said:?} is why: {letters:?}");
    let made = ended(&place.rig, "good", "ok");
    until(&serving, "backups go on", || ended(&place.rig, "good", "ok") >= made + 3);

    let server = Server::start(Script::default());
    place.rig.configure(&format!("{}{good}{bad}", smtp(server.address.port(), "starttls", Some(&server))));
    serving.signal("HUP");
    serving.wait_for_log("[smtp] changed", LONG);
    clock.set("+10m");
    until(&serving, "the letter is delivered", || outbox(&place.rig)[0]["state"] == "delivered");
    server.look(|seen| {
        let letters = seen.mails.iter().filter(|(_, text)| text.contains("FAILED bad")).count();
        assert_eq!(letters, 1, "{:?}", seen.mails);
    });
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn f40_what_was_refused_for_good_goes_out_once_the_settings_are_mended() {
    let place = Place::new();
    let plain = || Script { offer_starttls: false, auth: "", ..Script::default() };
    let server = Server::start(plain().with("oncal@example.org", Deed::Answer("550 5.1.1 no such user")));
    let more = "databases = [\"nowhere\"]\n[project.limits]\nretries = []\n[[project.schedule]]\nname = \"s\"\nevery = \"1h\"\n";
    let bad = place.project("bad", more);
    let settings = |to: &str| smtp(server.address.port(), "none", None).replace("oncall@example.org", to);
    place.rig.configure(&format!("{}{bad}", settings("oncal@example.org")));
    let mut serving = place.rig.serve();
    until(&serving, "the letter is refused", || outbox(&place.rig).first().is_some_and(|letter| letter["state"] == "refused"));
    assert!(place.rig.run(&["status"]).stdout.contains("PROBLEM a mail was refused for good"));
    serving.signal("HUP");
    serving.wait_for_log("read again, nothing changed", LONG);
    assert_eq!(outbox(&place.rig)[0]["state"], "refused", "nobody has mended anything");
    place.rig.configure(&format!("{}{bad}", settings("oncall@example.org")));
    serving.signal("HUP");
    serving.wait_for_log("[smtp] changed", LONG);
    until(&serving, "the letter is delivered", || outbox(&place.rig)[0]["state"] == "delivered");
    let seen = server.look(|seen| seen.mails.clone());
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].0[0].contains("oncall@example.org") && seen[0].1.contains("FAILED bad"), "to whom it goes now: {seen:?}");
    assert!(!place.rig.run(&["status"]).stdout.contains("refused for good"));
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn f40_who_was_put_off_while_others_were_not_gets_the_mail_later() {
    let place = Place::new();
    let deeds =
        Script { offer_starttls: false, auth: "", ..Script::default() }.with("second@example.org", Deed::Answer("450 4.2.0 greylisted"));
    let server = Server::start(deeds);
    let more = r#"to = ["oncall@example.org", "second@example.org"]"#;
    let both = smtp(server.address.port(), "none", None).replace(r#"to = ["oncall@example.org"]"#, more);
    let bad = place.project("bad", "databases = [\"nowhere\"]\n[project.limits]\nretries = []\n");
    place.rig.configure(&format!("{both}{bad}"));
    place.rig.run(&["backup", "bad"]);
    let letters = outbox(&place.rig);
    let states: Vec<_> = letters.iter().map(|letter| (letter["state"].as_str().unwrap(), letter["to"].to_string())).collect();
    assert_eq!(states.len(), 2, "{letters:?}");
    assert_eq!(states[0].0, "delivered");
    assert_eq!((states[1].0, states[1].1.as_str()), ("queued", r#"["second@example.org"]"#), "{letters:?}");
}

#[test]
fn f40_a_server_that_is_away_costs_no_backup_and_no_mail() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
    kept_and_retried(&smtp(free, "starttls", None), "");
}

#[test]
fn f40_a_server_that_says_later_costs_no_backup_and_no_mail() {
    let server = Server::start(Script::default().with("MAIL", Deed::Answer("451 4.3.0 later")));
    kept_and_retried(&smtp(server.address.port(), "starttls", Some(&server)), "451");
}

#[test]
fn f40_a_tarpit_costs_no_backup_and_no_mail() {
    let server = Server::start(Script::default().with("EHLO", Deed::Drip(Duration::from_secs(1))));
    kept_and_retried(&smtp(server.address.port(), "starttls", Some(&server)), "");
}

#[test]
fn f40_a_bad_certificate_costs_no_backup_and_no_mail() {
    let server = Server::start(Script { certificate: Certificate::Expired, ..Script::default() });
    kept_and_retried(&smtp(server.address.port(), "starttls", Some(&server)), "certificate");
}
