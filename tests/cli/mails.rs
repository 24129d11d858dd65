//! The mails of an incident, from `backup` typed by hand to the mail server.

use crate::bench::Bench;
use crate::smtp::{Deed, Script, Server};

fn settings(server: &Server) -> String {
    let port = server.address.port();
    format!(
        "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"pgdumpd@example.org\"\nto = [\"oncall@example.org\"]\n"
    )
}

fn plain() -> Script {
    Script { offer_starttls: false, auth: "", ..Script::default() }
}

/// A header of a mail, unfolded.
fn header(mail: &str, name: &str) -> String {
    let text = mail.replace("\r\n ", " ").replace("\r\n\t", " ");
    let line = text.lines().find(|line| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase())));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

#[test]
fn an_incident_is_one_thread_from_the_first_failure_to_the_recovery() {
    let bench = Bench::new();
    let server = Server::start(plain());
    bench.rig.configure(&format!("{}{}", settings(&server), bench.project("shop", "", "databases = [\"shop\", \"late\"]\n")));
    bench.run(3, &["backup", "shop"]);
    bench.run(3, &["backup", "shop"]);
    assert_eq!(server.look(|seen| seen.mails.len()), 1, "the second failure of the same cause is no news");
    bench.cluster.psql("create database late");
    bench.run(0, &["backup", "shop"]);
    let mails: Vec<String> = server.look(|seen| seen.mails.iter().map(|(_, mail)| mail.clone()).collect());
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert!(header(&mails[0], "Subject").starts_with("[pgdumpd] FAILED shop: "), "{}", mails[0]);
    assert_eq!(header(&mails[0], "In-Reply-To"), "");
    assert!(header(&mails[1], "Subject").starts_with("[pgdumpd] OK shop: backups work again after 2 failures"), "{}", mails[1]);
    assert_eq!(header(&mails[1], "In-Reply-To"), header(&mails[0], "Message-ID"));
    assert!(mails[0].contains("pg_dump 15."), "the client that was last seen is named: {}", mails[0]);
}

#[test]
fn a_password_never_reaches_log_catalog_terminal_or_mail() {
    let bench = Bench::new();
    let server = Server::start(plain());
    let talks = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'pg_dump (PostgreSQL) 15.18'; exit; fi\necho \"conninfo was user=x secret-words hunter2\" >&2\nexit 1\n";
    let bin = bench.rig.clients(&[("pg_dump", talks)]);
    let project = bench.project("shop", "shop", &format!("pg_bin_dir = {bin:?}\npassword = \"hunter2\"\n"));
    bench.rig.configure(&format!("{}{project}", settings(&server)));
    let told = bench.run(1, &["backup", "shop", "-v"]);
    assert!(told.stderr.contains("secret-words ***"), "{told:?}");
    let run = bench.run(1, &["status", "shop", "--json"]).json()["projects"][0]["recent"][0].to_string();
    let mails = server.look(|seen| format!("{:?}", seen.mails));
    assert!(run.contains("secret-words ***") && mails.contains("secret-words"), "{run} {mails}");
    let mut everything = format!("{told:?}{run}{mails}").into_bytes();
    for entry in std::fs::read_dir(bench.rig.state()).expect("state").flatten() {
        everything.extend(std::fs::read(entry.path()).unwrap_or_default());
    }
    assert!(!everything.windows(7).any(|window| window == b"hunter2"), "the password leaked");
}

#[test]
fn mail_refused_for_good_is_a_problem_until_a_later_one_is_accepted() {
    let bench = Bench::new();
    let refusing = Server::start(plain().with("RCPT", Deed::Answer("550 5.1.1 no such user")));
    bench.rig.configure(&format!("{}{}", settings(&refusing), bench.project("shop", "", "databases = [\"late\"]\n")));
    let told = bench.run(1, &["backup", "shop"]).stderr;
    assert!(told.contains("1 mail refused for good"), "{told}");
    let told = bench.run(1, &["status"]).stdout;
    assert!(told.contains("PROBLEM a mail was refused for good") && told.contains("550 5.1.1 no such user"), "{told}");
    let kind = Server::start(plain());
    bench.rig.configure(&format!("{}{}", settings(&kind), bench.project("shop", "", "databases = [\"late\"]\n")));
    let tested = bench.run(0, &["notify", "test"]).stdout;
    assert!(
        tested.contains("a test mail was accepted for oncall@example.org") && tested.contains("1 mail refused before: sent again"),
        "{tested}"
    );
    let subjects = || mails(&kind).iter().map(|mail| header(mail, "Subject")).collect::<Vec<_>>();
    assert!(subjects().len() == 2 && subjects()[1].starts_with("[pgdumpd] FAILED shop"), "the failure is told now: {:?}", subjects());
    assert!(!bench.run(0, &["notify", "test"]).stdout.contains("sent again"), "once");
    let told = bench.run(1, &["status"]).stdout;
    assert!(!told.contains("refused for good"), "the same people can be reached now: {told}");
    bench.cluster.psql("create database late");
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["status"]);
    assert_eq!(subjects().len(), 4, "{:?}", subjects());
    assert!(subjects()[3].starts_with("[pgdumpd] OK shop"), "{:?}", subjects());
}

/// The subjects of what it took, each with who got it.
fn taken(server: &Server) -> Vec<(String, String)> {
    let subject = |mail: &str| header(&mail.replace("=\r\n", ""), "Subject");
    server.look(|seen| seen.mails.iter().map(|(to, mail)| (to.join(" "), subject(mail))).collect())
}

#[test]
fn what_waited_goes_before_what_is_new() {
    let bench = Bench::new();
    let busy = Server::start(plain().with("MAIL", Deed::Answer("451 4.3.0 try again later")));
    let project = bench.project("shop", "", "databases = [\"late\"]\n");
    bench.rig.configure(&format!("{}{project}", settings(&busy)));
    bench.run(1, &["backup", "shop"]);
    let kind = Server::start(plain());
    bench.rig.configure(&format!("{}{project}", settings(&kind)));
    bench.cluster.psql("create database late");
    bench.run(0, &["backup", "shop"]);
    let taken = taken(&kind);
    assert!(
        taken.len() == 2 && taken[0].1.starts_with("[pgdumpd] FAILED shop") && taken[1].1.starts_with("[pgdumpd] OK shop"),
        "{taken:?}"
    );
}

#[test]
fn one_of_several_who_is_refused_is_a_problem_and_gets_it_later_alone() {
    let bench = Bench::new();
    let refusing = Server::start(plain().with("bad@example.org", Deed::Answer("550 5.1.1 no such user")));
    let project = bench.project("shop", "", "databases = [\"late\"]\n");
    let both = |server: &Server| settings(server).replace("\"oncall@example.org\"", "\"bad@example.org\", \"good@example.org\"");
    bench.rig.configure(&format!("{}{project}", both(&refusing)));
    let told = bench.run(1, &["backup", "shop"]).stderr;
    assert!(told.contains("1 mail refused for good"), "{told}");
    assert_eq!(taken(&refusing).iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["good@example.org"]);
    let status = || bench.run(1, &["status"]).stdout;
    assert!(status().contains("bad@example.org: 550 5.1.1 no such user"), "{}", status());
    let tested = bench.run(1, &["notify", "test"]);
    assert!(tested.stdout.contains("a test mail was accepted for good@example.org only"), "{tested:?}");
    assert!(status().contains("bad@example.org: 550 5.1.1 no such user"), "the other's test settles nothing: {}", status());
    let kind = Server::start(plain());
    bench.rig.configure(&format!("{}{project}", both(&kind)));
    assert!(bench.run(0, &["notify", "test"]).stdout.contains("1 mail refused before: sent again"));
    let taken = taken(&kind);
    assert!(taken.len() == 2 && taken[1].0 == "bad@example.org" && taken[1].1.starts_with("[pgdumpd] FAILED shop"), "{taken:?}");
    assert!(!status().contains("550"), "{}", status());
}

#[test]
fn a_projects_own_people_can_be_tried() {
    let bench = Bench::new();
    let server = Server::start(plain());
    let own = bench.project("shop", "shop", "to = [\"dba@example.org\"]\n");
    bench.rig.configure(&format!("{}{own}", settings(&server)));
    assert!(
        bench
            .run(0, &["notify", "test"])
            .stderr
            .contains("a project has its own recipients, who were not tried: pgdumpd notify test PROJECT")
    );
    assert!(bench.run(0, &["notify", "test", "shop"]).stdout.contains("accepted for dba@example.org"));
    assert_eq!(taken(&server).into_iter().map(|(to, _)| to).collect::<Vec<_>>(), ["oncall@example.org", "dba@example.org"]);
    bench.run(2, &["notify", "test", "shpo"]);
}

#[test]
fn a_mail_server_that_is_away_keeps_no_backup_waiting_and_is_told() {
    let bench = Bench::new();
    let smtp = "[smtp]\nhost = \"127.0.0.1\"\nport = 1\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n";
    bench.rig.configure(&format!("{smtp}{}", bench.project("shop", "", "databases = [\"shop\", \"missing\"]\n")));
    let told = bench.run(3, &["backup", "shop"]).stderr;
    assert!(told.contains("1 mail could not be sent yet"), "{told}");
    assert!(bench.run(1, &["status"]).stdout.contains("1 mail waiting to be sent"));
    let answer = bench.run(1, &["notify", "test", "--json"]).json();
    assert_eq!((answer["success"].as_bool(), answer["steps"][1]["ok"].as_bool()), (Some(false), Some(false)), "{answer}");
}

fn mails(server: &Server) -> Vec<String> {
    server.look(|seen| seen.mails.iter().map(|(_, mail)| mail.replace("=\r\n", "").replace("\r\n", "\n")).collect())
}

#[test]
fn files_that_are_gone_are_told_in_one_mail_and_not_as_damaged() {
    let bench = Bench::new();
    let server = Server::start(plain());
    bench.rig.configure(&format!("{}{}", settings(&server), bench.project("shop", "shop", "")));
    for _ in 0..3 {
        bench.run(0, &["backup", "shop"]);
    }
    for file in bench.rig.stored().iter().filter(|file| file.ends_with(".dump.zst")) {
        std::fs::remove_file(bench.rig.storage().join(file)).expect("removed");
    }
    bench.rig.run(&["verify", "shop"]);
    let mails = mails(&server);
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert!(header(&mails[0], "Subject").starts_with("[pgdumpd] LOST 3 backups: shop"), "{}", mails[0]);
    assert_eq!(mails[0].matches("is missing").count(), 3, "{}", mails[0]);
    assert!(!mails[0].contains("DAMAGED") && !mails[0].contains("may still be readable"), "{}", mails[0]);
}

#[test]
fn a_failure_of_a_whole_project_names_the_last_good_backup_of_each_database() {
    let bench = Bench::new();
    let server = Server::start(plain());
    let project = bench.project("all", "", "databases = \"all\"\n");
    bench.rig.configure(&format!("{}{project}", settings(&server)));
    bench.run(0, &["backup", "all"]);
    let away = project.replace(&bench.cluster.port.to_string(), "1");
    bench.rig.configure(&format!("{}{away}", settings(&server)));
    bench.run(75, &["backup", "all"]);
    bench.rig.configure(&format!("{}{project}", settings(&server)));
    bench.run(0, &["backup", "all"]);
    let mails = mails(&server);
    assert_eq!(mails.len(), 2, "{mails:#?}");
    for database in ["shop", "billing", "postgres"] {
        assert!(mails[0].contains(&format!("The last good backup of {database}\n")), "{database}: {}", mails[0]);
        assert!(mails[1].contains(&format!("New backup of {database}\n")), "{database}: {}", mails[1]);
    }
    assert!(mails[0].contains("those of what failed are pruned"), "{}", mails[0]);
}
