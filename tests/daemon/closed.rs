//! Alerts of what nobody backs up any more: dropped on the server, taken out of the configuration. Each is closed with one mail that says
//! why and what is kept.

use serde_json::json;

use crate::rig::Rig;
use crate::smtp::{Script, Server};
use crate::support::{LONG, Place, events, outbox, until};

const SMTP: &str =
    "[smtp]\nhost = \"localhost\"\nport = PORT\nsecurity = \"none\"\nfrom = \"p@example.org\"\nto = [\"oncall@example.org\"]\n";

fn smtp(server: &Server) -> String {
    SMTP.replace("PORT", &server.address.port().to_string())
}

/// The mails that arrived and hold these words; whitespace as a reader sees it.
fn arrived(server: &Server, words: &str) -> Vec<String> {
    let text = |mail: &str| mail.split_whitespace().collect::<Vec<_>>().join(" ");
    server.look(|seen| seen.mails.iter().map(|(_, mail)| text(mail)).filter(|mail| mail.contains(words)).collect())
}

/// Every database of the server, by a role that may not read all of them.
fn all_of_it(place: &Place) -> String {
    place.cluster.psql("create role backup login in role pg_read_all_data");
    let url = place.cluster.url_as("backup", "postgres");
    format!(
        "[[project]]\nname = \"shop\"\nconnection = {url:?}\ndatabases = \"all\"\nlimits = {{ retries = [] }}\nmax_backup_age = \"26h\"\n\
         exclude_databases = [\"scratch*\"]\n"
    )
}

#[test]
fn a_failing_database_that_is_dropped_is_closed_by_one_mail() {
    let server = Server::start(Script::default());
    let place = Place::new();
    let project = all_of_it(&place);
    place.rig.configure(&format!("{}{project}", smtp(&server)));
    place.cluster.psql("create database billing");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    place.cluster.psql_in("billing", "create table t (); alter table t enable row level security");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 3);
    assert_eq!(place.rig.run(&["status"]).code, 1);
    assert_eq!(events(&place.rig), ["failing"]);

    place.cluster.psql("drop database billing");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    assert_eq!(events(&place.rig), ["failing", "closed"]);
    let letters = outbox(&place.rig);
    assert_eq!(letters[1]["in_reply_to"], letters[0]["message_id"], "the same incident: {letters:#?}");
    let mails = arrived(&server, "CLOSED shop: database billing is not on the server");
    assert_eq!(mails.len(), 1, "{:?}", server.look(|seen| seen.mails.clone()));
    let body = letters[1]["body"].as_str().unwrap_or_default();
    let whole = ["1 backup of it, ", "stay: nothing is pruned", "list shop --database billing", "--to billing_restored", "row security"];
    for words in whole {
        assert!(body.contains(words), "{words}: {body}");
    }

    let told = place.rig.run(&["status", "--json"]);
    assert_eq!((told.code, &told.json()["orphaned"]), (0, &json!(["shop/billing"])), "{told:?}");
    let listed = place.rig.run(&["list", "shop", "--database", "billing"]).stdout;
    assert!(listed.contains("orphaned"), "{listed}");
    assert!(!place.rig.run(&["list", "shop", "--database", "postgres"]).stdout.contains("orphaned"));
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    assert_eq!(events(&place.rig).len(), 2, "it is told once");
}

#[test]
fn a_healthy_database_that_is_dropped_is_told_once_and_never_becomes_stale() {
    let place = Place::new();
    let project = all_of_it(&place);
    place.rig.configure(&format!("{}{project}", crate::support::NO_MAIL));
    place.cluster.psql("create database billing");
    place.cluster.psql("create database scratch1");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    place.cluster.psql("drop database billing");
    place.cluster.psql("drop database scratch1");
    for _ in 0..2 {
        assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    }
    let letters = outbox(&place.rig);
    assert_eq!(letters.len(), 1, "{letters:#?}");
    assert_eq!(letters[0]["subject"], "[pgdumpd] GONE shop: database billing is not on the server");
    // It comes back, and goes again: that is news again.
    place.cluster.psql("create database billing");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    place.cluster.psql("drop database billing");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    assert_eq!(events(&place.rig), ["closed", "closed"]);
}

#[test]
fn what_leaves_the_configuration_is_closed_at_the_reload() {
    let server = Server::start(Script::default());
    let place = Place::new();
    let often = "[[project.schedule]]\nname = \"s\"\ncron = \"*/3 * * * * *\"\n";
    let project =
        |name: &str, databases: &str| place.project(name, &format!("databases = {databases}\n[project.limits]\nretries = []\n{often}"));
    let (smtp, both, one) = (smtp(&server), r#"["postgres", "nowhere"]"#, r#"["postgres"]"#);
    place.rig.configure(&format!("{smtp}{}{}", project("shop", both), project("old", both)));
    let mut serving = place.rig.serve();
    until(&serving, "both failures are told", || !arrived(&server, "shop").is_empty() && !arrived(&server, "old").is_empty());
    until(&serving, "both have a backup", || place.rig.backups().iter().any(|row| row["project"] == "old"));

    place.rig.configure(&format!("{smtp}{}{}", project("shop", one), project("old", both)));
    serving.signal("HUP");
    until(&serving, "the database is closed", || !arrived(&server, "CLOSED shop: database nowhere is no longer configured").is_empty());
    assert!(arrived(&server, "CLOSED")[0].contains("No backup of it is kept."));
    assert_eq!(place.rig.run(&["status"]).code, 1, "the other still fails");

    place.rig.configure(&format!("{smtp}{}", project("shop", one)));
    serving.signal("HUP");
    until(&serving, "the project is closed", || !arrived(&server, "CLOSED old: it is no longer configured").is_empty());
    let closed = arrived(&server, "CLOSED old");
    assert!(closed[0].contains("of it, ") && closed[0].contains("The newest good backup of postgres"), "{closed:?}");
    let told = place.rig.run(&["status", "--json"]);
    assert_eq!((told.code, &told.json()["orphaned"]), (0, &json!(["old"])), "{told:?}");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    assert_eq!(arrived(&server, "CLOSED").len(), 2, "each is told once");
}

#[test]
fn a_database_that_lets_nobody_in_is_left_out_by_name_and_is_not_said_to_be_gone() {
    let place = Place::new();
    let project = all_of_it(&place);
    place.rig.configure(&format!("{}{project}", crate::support::NO_MAIL));
    place.cluster.psql("create database billing");
    place.cluster.psql("create database never");
    place.cluster.psql("create database scratch1");
    place.cluster.psql("alter database never allow_connections false");
    place.cluster.psql("alter database scratch1 allow_connections false");
    let backup = || {
        let told = place.rig.run(&["backup", "shop"]);
        assert_eq!(told.code, 0, "{told:?}");
        told.stderr
    };
    let told = backup();
    assert!(told.contains("shop: the database \"never\" is left out: it lets nobody connect"), "{told}");
    assert!(told.contains("ALTER DATABASE \"never\" ALLOW_CONNECTIONS true") && !told.contains("scratch1"), "{told}");
    assert_eq!(outbox(&place.rig).len(), 0, "it never had a backup");

    place.cluster.psql("alter database billing allow_connections false");
    assert!(backup().contains("the database \"billing\" is left out"));
    backup();
    let letters = outbox(&place.rig);
    assert_eq!(letters.len(), 1, "once: {letters:#?}");
    assert_eq!(letters[0]["subject"], "[pgdumpd] LEFT OUT shop: database billing lets nobody connect");
    let body = letters[0]["body"].as_str().unwrap_or_default().replace('\n', " ");
    assert!(body.contains("let connections in again: ALTER DATABASE") && body.contains("1 backup of it, "), "{body}");
    let json = place.rig.run(&["backup", "shop", "--json"]).json();
    assert_eq!(json["left_out"], json!(["billing", "never"]), "{json}");
    let doctor = place.rig.run(&["doctor", "shop"]).stdout;
    assert!(doctor.contains("warning project \"shop\": the database \"billing\" is left out: it lets nobody connect"), "{doctor}");

    place.cluster.psql("alter database billing allow_connections true");
    assert!(!backup().contains("billing\" is left out"));
    assert_eq!(outbox(&place.rig).len(), 1);
    place.cluster.psql("drop database billing");
    backup();
    assert_eq!(outbox(&place.rig)[1]["subject"], "[pgdumpd] GONE shop: database billing is not on the server");
}

#[test]
fn no_single_database_has_to_let_the_role_in_where_all_are_wanted() {
    let place = Place::new();
    let project = all_of_it(&place);
    place.rig.configure(&format!("{}{project}", crate::support::NO_MAIL));
    place.cluster.psql("create database billing");
    assert_eq!(place.rig.run(&["backup", "shop"]).code, 0);
    // The connection's own.
    place.cluster.psql("revoke connect on database postgres from public");
    let told = place.rig.run(&["backup", "shop"]);
    let made = |name: &str| place.rig.backups().iter().filter(|row| row["database"] == name).count();
    assert_eq!((made("billing"), made("postgres")), (2, 1), "the others are asked for and made: {told:?}");
    assert!(told.code == 3 && told.stderr.contains("permission denied for database \"postgres\""), "and that one is told: {told:?}");
    let doctor = place.rig.run(&["doctor", "shop"]).stdout;
    assert!(doctor.contains("fine    project \"shop\", database \"billing\""), "{doctor}");
}

/// The first failure under another database is told by itself: what failed before has been closed, and runs of it end nowhere.
#[test]
fn what_fails_after_a_reload_is_told_without_the_database_that_left() {
    let server = Server::start(Script::default());
    let rig = Rig::new();
    let configured = |database: &str| {
        rig.configure(&format!(
            "{}[[project]]\nname = \"shop\"\nconnection = \"postgresql://postgres@127.0.0.1:1/{database}\"\nretention = {{ keep_last = 3 }}\n\
             limits = {{ retries = [] }}\n[[project.schedule]]\nname = \"s\"\ncron = \"*/3 * * * * *\"\n",
            smtp(&server)
        ));
    };
    configured("billing");
    let mut serving = rig.serve();
    until(&serving, "the failure is told", || !arrived(&server, "FAILED shop").is_empty());
    // Runs of it that nobody is told of before the next minute.
    std::thread::sleep(std::time::Duration::from_secs(8));
    configured("nope");
    serving.signal("HUP");
    until(&serving, "the database is closed", || !arrived(&server, "CLOSED shop: database billing is no longer configured").is_empty());
    until(&serving, "the next failure is told", || arrived(&server, "FAILED shop").len() == 2);
    let failed = &arrived(&server, "FAILED shop")[1];
    assert!(failed.contains("nope") && !failed.contains("billing"), "{failed}");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    assert_eq!(arrived(&server, "CLOSED").len(), 1, "{:?}", arrived(&server, "CLOSED"));
}
