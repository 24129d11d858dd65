//! Mail over real connections: what arrives, and fault 40 (the server refuses, is busy, tarpits, or shows a bad certificate) case by case.

#![cfg(test)]

#[path = "support/smtp.rs"]
mod smtp;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use chrono::{TimeZone, Utc};
use pgdumpd::error::Failure;
use pgdumpd::model::project::PasswordSource;
use pgdumpd::model::settings::{Smtp, SmtpSecurity};
use pgdumpd::notify::email::deliver;
use pgdumpd::notify::probe::probe;
use pgdumpd::notify::{Delivered, Message, Undelivered};
use secrecy::SecretString;
use smtp::{Certificate, Deed, Script, Server};

const STEP: Duration = Duration::from_millis(800);

fn settings(server: &Server, security: SmtpSecurity) -> Smtp {
    Smtp {
        host: String::from("localhost"),
        port: server.address.port(),
        security,
        ca_file: Some(server.ca_file()),
        username: None,
        password: PasswordSource::Libpq,
        from: String::from("pgdumpd <pgdumpd@example.org>"),
        to: Vec::new(),
        timeout: STEP,
    }
}

fn message(to: &[&str]) -> Message {
    Message {
        to: to.iter().map(|address| String::from(*address)).collect(),
        subject: String::from("[pgdumpd] FAILED shop: größer\r\nBcc: thief@example.org"),
        body: String::from("one\n.\n..two\nthree\n"),
        message_id: String::from("<pgdumpd.1@backup1>"),
        written_at: Utc.with_ymd_and_hms(2026, 11, 21, 1, 15, 0).unwrap(),
        in_reply_to: Some(String::from("<pgdumpd.0@backup1>")),
        references: vec![String::from("<pgdumpd.0@backup1>")],
        event: String::from("failing"),
        projects: vec![String::from("shop")],
        had: Vec::new(),
    }
}

fn send(settings: &Smtp, to: &[&str]) -> Result<Delivered, Undelivered> {
    let password = SecretString::from("tiger 42");
    deliver(settings, Some(&password), "backup1.example.org", &message(to))
}

fn send_one(server: &Server) -> Result<Delivered, Undelivered> {
    send(&settings(server, SmtpSecurity::StartTls), &["ann@example.org"])
}

fn later(result: Result<Delivered, Undelivered>) -> Failure {
    match result {
        Err(Undelivered::Later(failure)) => failure,
        other => panic!("should be tried again later: {other:?}"),
    }
}

fn refused(result: Result<Delivered, Undelivered>) -> Failure {
    match result {
        Err(Undelivered::Refused(failure)) => failure,
        other => panic!("should be refused for good: {other:?}"),
    }
}

fn mails(server: &Server) -> usize {
    server.look(|seen| seen.mails.len())
}

#[test]
fn a_mail_arrives_as_it_was_written() {
    let server = Server::start(Script::default());
    assert_eq!(send_one(&server), Ok(Delivered::default()));
    let (to, mail) = server.look(|seen| seen.mails[0].clone());
    assert_eq!(to, ["ann@example.org"]);
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "one\r\n.\r\n..two\r\nthree\r\n");
    for line in [
        "Date: Sat, 21 Nov 2026 01:15:00 +0000",
        "Message-ID: <pgdumpd.1@backup1>",
        "In-Reply-To: <pgdumpd.0@backup1>",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is missing in {head}");
    }
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    server.look(|seen| {
        let plain: Vec<_> = seen.commands.iter().filter(|line| !line.starts_with("tls:")).collect();
        assert_eq!(plain, ["EHLO backup1.example.org", "STARTTLS"]);
    });
}

#[test]
fn tls_from_the_start_and_none_at_all_work_too() {
    let server = Server::start(Script { implicit_tls: true, ..Script::default() });
    send(&settings(&server, SmtpSecurity::Tls), &["ann@example.org"]).unwrap();
    assert_eq!(mails(&server), 1);
    let server = Server::start(Script { offer_starttls: false, ..Script::default() });
    send(&settings(&server, SmtpSecurity::None), &["ann@example.org"]).unwrap();
    assert_eq!(mails(&server), 1);
}

#[test]
fn a_login_by_plain_or_login_happens_inside_tls() {
    for (auth, shown) in [("PLAIN LOGIN", "PLAIN"), ("LOGIN", "LOGIN")] {
        let server = Server::start(Script { auth, require_auth: true, ..Script::default() });
        let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
        send(&settings, &["ann@example.org"]).unwrap();
        assert_eq!(server.look(|seen| seen.logins.clone()), ["backup tiger 42"], "{auth}");
        assert!(server.look(|seen| seen.commands.iter().any(|line| line.starts_with(&format!("tls:AUTH {shown}")))));
    }
}

#[test]
fn f40_a_server_that_is_busy_gets_the_mail_later() {
    for stage in ["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "."] {
        let server = Server::start(Script::default().with(stage, Deed::Answer("451 4.3.0 busy")));
        let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
        let failure = later(send(&settings, &["ann@example.org"]));
        assert!(failure.message.contains("451 4.3.0 busy"), "{stage}: {failure}");
        assert_eq!(mails(&server), 0);
    }
}

#[test]
fn f40_what_a_person_can_mend_is_tried_again_with_a_hint() {
    for (stage, answer) in [
        ("greeting", "554 5.7.1 no"),
        ("EHLO", "550 5.7.1 no"),
        ("STARTTLS", "502 5.5.1 no"),
        ("AUTH", "535 5.7.8 bad"),
        ("MAIL", "550 5.7.1 not yours"),
    ] {
        let server = Server::start(Script::default().with(stage, Deed::Answer(answer)));
        let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
        let failure = later(send(&settings, &["ann@example.org"]));
        assert!(failure.message.contains(answer), "{stage}: {failure}");
        assert!(failure.hint.is_some() || stage == "STARTTLS", "{stage}: {failure:?}");
    }
    let server = Server::start(Script { require_auth: true, ..Script::default() });
    let failure = later(send_one(&server));
    assert_eq!(failure.hint.as_deref(), Some("set username and password in [smtp]"), "{failure}");
}

#[test]
fn f40_a_message_refused_for_good_is_not_tried_again() {
    for (stage, answer) in [("RCPT", "550 5.1.1 no such user"), ("DATA", "554 5.6.0 no"), (".", "554 5.7.1 looks like spam")] {
        let server = Server::start(Script::default().with(stage, Deed::Answer(answer)));
        let failure = refused(send_one(&server));
        assert!(failure.message.contains(answer), "{stage}: {failure}");
    }
}

#[test]
fn f40_one_refused_recipient_keeps_nobody_else_from_the_mail() {
    let script = Script::default()
        .with("bob@example.org", Deed::Answer("550 5.1.1 no such user"))
        .with("eve@example.org", Deed::Answer("450 4.2.0 greylisted"));
    let server = Server::start(script.clone());
    let settings = settings(&server, SmtpSecurity::StartTls);
    let delivered = send(&settings, &["bob@example.org", "ann@example.org", "eve@example.org", "nonsense"]).unwrap();
    assert_eq!(server.look(|seen| seen.mails[0].0.clone()), ["ann@example.org"]);
    let names = |list: &[pgdumpd::notify::Refusal]| list.iter().map(|refusal| refusal.address.clone()).collect::<Vec<_>>();
    assert_eq!(names(&delivered.refused), ["nonsense", "bob@example.org"]);
    assert_eq!(names(&delivered.deferred), ["eve@example.org"]);
    assert_eq!(delivered.refused[1].answer, "550 5.1.1 no such user");

    assert_eq!(message(&["x@y.org"]).for_deferred(&delivered).map(|rest| rest.to), Some(vec![String::from("eve@example.org")]));
    assert_eq!(message(&["x@y.org"]).for_deferred(&Delivered::default()), None);

    // An address that is none stays none, whatever is put right in the settings.
    refused(send(&settings, &["nonsense"]));
    // As long as one of them may still take it, it is worth keeping.
    later(send(&settings, &["bob@example.org", "eve@example.org"]));
    refused(send(&settings, &["bob@example.org"]));
    assert_eq!(mails(&server), 1);
}

#[test]
fn f40_a_server_that_hangs_up_gets_the_mail_later() {
    for stage in ["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "."] {
        let server = Server::start(Script::default().with(stage, Deed::Drop));
        let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
        let failure = later(send(&settings, &["ann@example.org"]));
        assert!(failure.message.contains("closed the connection") || failure.message.contains("TLS with"), "{stage}: {failure}");
    }
}

#[test]
fn f40_a_silent_or_dripping_server_is_left_within_the_step() {
    for (stage, deed) in [
        ("greeting", Deed::Silence),
        ("MAIL", Deed::Silence),
        (".", Deed::Silence),
        ("greeting", Deed::Drip(STEP / 4)),
        ("EHLO", Deed::Drip(STEP / 4)),
    ] {
        let server = Server::start(Script::default().with(stage, deed.clone()));
        let begun = Instant::now();
        let failure = later(send_one(&server));
        assert!(begun.elapsed() < STEP * 2, "{stage} {deed:?}: {:?}", begun.elapsed());
        assert!(failure.message.contains("took longer than 800ms"), "{stage}: {failure}");
    }
    let mute = Server::start(Script::default().with("greeting", Deed::Silence));
    let begun = Instant::now();
    let failure = later(send(&settings(&mute, SmtpSecurity::Tls), &["ann@example.org"]));
    assert!(begun.elapsed() < STEP * 2 && failure.message.contains("for certificate"), "{failure}");
}

#[test]
fn f40_a_tarpit_within_every_step_is_left_within_the_total() {
    let slow = ["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "."];
    let script = slow.into_iter().fold(Script::default(), |script, stage| script.with(stage, Deed::Late(STEP * 3 / 4)));
    let server = Server::start(script);
    let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
    let begun = Instant::now();
    let failure = later(send(&settings, &["ann@example.org"]));
    assert!(begun.elapsed() < STEP * 4 + STEP / 2, "{:?}", begun.elapsed());
    assert!(failure.message.contains("so slowly that"), "{failure}");
}

#[test]
fn f40_a_server_that_is_away_gets_the_mail_later() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(Script::default());
    let away = Smtp { port: gone.port(), ..settings(&server, SmtpSecurity::StartTls) };
    assert!(later(send(&away, &["ann@example.org"])).message.contains("connection refused"));
    let nowhere = Smtp { host: String::from("mail.invalid"), ..away };
    assert!(later(send(&nowhere, &["ann@example.org"])).message.contains("mail server mail.invalid was not found"));
}

#[test]
fn f40_a_bad_certificate_gets_nothing_and_says_why() {
    for (certificate, why) in [
        (Certificate::WrongName, "made out to elsewhere.example, not to localhost"),
        (Certificate::Expired, "it has expired"),
        (Certificate::SelfSigned, "self-signed"),
    ] {
        for security in [SmtpSecurity::StartTls, SmtpSecurity::Tls] {
            let server = Server::start(Script { certificate, implicit_tls: security == SmtpSecurity::Tls, ..Script::default() });
            let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, security) };
            let failure = later(send(&settings, &["ann@example.org"]));
            assert!(failure.message.contains(why) && failure.message.contains("localhost"), "{certificate:?}: {failure}");
            assert!(failure.hint.is_some(), "{failure:?}");
            server.look(|seen| {
                assert!(seen.logins.is_empty() && seen.mails.is_empty());
                assert!(!seen.commands.iter().any(|line| line.contains("AUTH") || line.contains("MAIL")), "{:?}", seen.commands);
            });
        }
    }
}

#[test]
fn f40_an_authority_that_is_not_named_is_not_trusted() {
    let server = Server::start(Script::default());
    let settings = Smtp { ca_file: None, ..settings(&server, SmtpSecurity::StartTls) };
    let failure = later(send(&settings, &["ann@example.org"]));
    assert!(failure.hint.unwrap_or_default().contains("ca_file"), "{}", failure.message);
    assert_eq!(mails(&server), 0);
}

#[test]
fn f40_an_offer_of_starttls_taken_out_is_no_reason_to_go_on_in_the_clear() {
    let server = Server::start(Script { offer_starttls: false, ..Script::default() });
    let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
    let failure = later(send(&settings, &["ann@example.org"]));
    assert!(failure.message.contains("does not offer STARTTLS"), "{failure}");
    assert_eq!(server.look(|seen| seen.commands.clone()), ["EHLO backup1.example.org"]);
}

#[test]
fn f40_what_is_said_in_the_clear_does_not_count_inside_tls() {
    let server = Server::start(Script::default().with("STARTTLS", Deed::Inject("250-evil\r\n250 AUTH PLAIN\r\n")));
    let failure = later(send_one(&server));
    assert!(failure.message.contains("in the clear"), "{failure}");
    assert_eq!(mails(&server), 0);
}

#[test]
fn f40_what_is_not_smtp_is_left() {
    for answer in ["HTTP/1.1 400 Bad Request", "999", "\u{1}\u{2}"] {
        let server = Server::start(Script::default().with("greeting", Deed::Answer(answer)));
        later(send_one(&server));
    }
    let plain = Server::start(Script::default());
    later(send(&settings(&plain, SmtpSecurity::Tls), &["ann@example.org"]));
    let tls = Server::start(Script { implicit_tls: true, ..Script::default() });
    later(send(&settings(&tls, SmtpSecurity::StartTls), &["ann@example.org"]));
}

#[test]
fn a_server_that_repeats_the_password_does_not_bring_it_into_the_mail_log() {
    let server = Server::start(Script::default().with("AUTH", Deed::Answer("535 5.7.8 'tiger 42' is wrong")));
    let settings = Smtp { username: Some(String::from("backup")), ..settings(&server, SmtpSecurity::StartTls) };
    let failure = later(send(&settings, &["ann@example.org"]));
    assert!(!failure.message.contains("tiger"), "{failure}");
}

#[test]
fn the_probe_tells_each_step_and_stops_at_the_one_that_failed() {
    let names = |server: &Server, login: bool| {
        let settings = Smtp { username: login.then(|| String::from("backup")), ..settings(server, SmtpSecurity::StartTls) };
        let password = SecretString::from("tiger 42");
        let (steps, accepted) = probe(&settings, Some(&password), "backup1", &message(&["ann@example.org"]));
        assert_eq!(accepted.len(), usize::from(steps.iter().all(|step| step.ok)), "{steps:?}");
        assert!(steps.iter().rev().skip(1).all(|step| step.ok), "{steps:?}");
        (steps.iter().map(|step| step.name).collect::<Vec<_>>().join(" > "), steps.last().unwrap().clone())
    };
    let (walked, last) = names(&Server::start(Script::default()), true);
    assert_eq!(
        walked,
        "resolve name > connect > greeting > EHLO > STARTTLS > certificate > EHLO > authentication > MAIL FROM > RCPT TO > DATA"
    );
    assert!(last.ok && last.detail.contains("queued as 42"), "{last:?}");
    for (stage, name) in
        [("greeting", "greeting"), ("EHLO", "EHLO"), ("AUTH", "authentication"), ("MAIL", "MAIL FROM"), ("RCPT", "RCPT TO"), (".", "DATA")]
    {
        let (_, last) = names(&Server::start(Script::default().with(stage, Deed::Answer("550 no"))), true);
        assert!(!last.ok && last.name == name && last.detail.contains("550 no"), "{stage}: {last:?}");
    }
    let (_, last) = names(&Server::start(Script { certificate: Certificate::Expired, ..Script::default() }), false);
    assert!(!last.ok && last.name == "certificate" && last.detail.contains("renew"), "{last:?}");
}
