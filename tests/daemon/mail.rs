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
