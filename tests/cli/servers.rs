//! Backups of two servers under one project: neither pushes out the other's until a person says that they are one line.

use std::os::unix::fs::PermissionsExt;

use pgdumpd::clock::Clock;
use pgdumpd::config;
use pgdumpd::ops::notice::{self, Desk, Hands};
use pgdumpd::ops::{World, reindex};

use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::rig::{Ended, Rig};
use crate::smtp::{Script, Server};

/// Two servers that have the same database, and a mail server.
struct Two {
    old: Bench,
    new: Cluster,
    mail: Server,
}

impl Two {
    fn new() -> Self {
        let new = Cluster::start();
        new.psql("create database shop");
        new.psql_in("shop", "create table orders as select g id from generate_series(1, 4) g");
        Self { old: Bench::new(), new, mail: Server::start(Script { offer_starttls: false, auth: "", ..Script::default() }) }
    }

    /// Writes a configuration for this server into this folder.
    fn configure(&self, rig: &Rig, server: &Cluster, more: &str) {
        let port = self.mail.address.port();
        rig.configure(&format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n\
             [[project]]\nname = \"shop\"\nconnection = {:?}\nlimits = {{ retries = [] }}\nretention = {{ keep_last = 2 }}\n{more}\n",
            server.url("shop")
        ));
    }

    fn mails(&self) -> Vec<String> {
        self.mail.look(|seen| seen.mails.iter().map(|(_, mail)| mail.replace("=\r\n", "").replace("\r\n", "\n")).collect())
    }
}

fn identifier(cluster: &Cluster) -> String {
    cluster.psql("select system_identifier from pg_control_system()")
}

fn run(rig: &Rig, code: i32, arguments: &[&str]) -> Ended {
    let ended = rig.run(arguments);
    assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
    ended
}

/// How many backups of the database `shop`, and of the roles, come from this server.
fn of(rig: &Rig, cluster: &Cluster) -> (usize, usize) {
    let (rows, identifier) = (rig.backups(), identifier(cluster));
    let count =
        |database: &str| rows.iter().filter(|row| row["database"] == database && row["system_identifier"] == identifier.as_str()).count();
    (count("shop"), count("globals"))
}

#[test]
fn a_project_that_is_pointed_at_another_server_keeps_the_old_ones_backups_until_a_word() {
    let two = Two::new();
    let rig = &two.old.rig;
    two.configure(rig, &two.old.cluster, "globals = true\n");
    for _ in 0..3 {
        run(rig, 0, &["backup", "shop"]);
    }
    assert_eq!(of(rig, &two.old.cluster), (2, 2), "keep_last = 2");
    two.configure(rig, &two.new, "globals = true\n");
    let told = run(rig, 0, &["backup", "shop"]);
    assert!(
        told.stderr.contains("warning: this backup is of another server") && told.stderr.contains("has backups of 2 servers"),
        "{told:?}"
    );
    for _ in 0..2 {
        run(rig, 0, &["backup", "shop"]);
    }
    assert_eq!((of(rig, &two.old.cluster), of(rig, &two.new)), ((2, 2), (3, 3)), "nothing went");
    let mails = two.mails();
    assert_eq!(mails.len(), 1, "told once: {mails:#?}");
    assert!(mails[0].contains("HELD shop: it has backups of 2 servers"), "{}", mails[0]);
    for words in [
        identifier(&two.old.cluster),
        identifier(&two.new),
        format!("127.0.0.1:{}", two.old.cluster.port),
        String::from("prune shop --confirm"),
    ] {
        assert!(mails[0].contains(&words), "{words}: {}", mails[0]);
    }
    let status = run(rig, 0, &["status"]).stdout;
    assert!(status.contains("pruning of shop held, because there are backups of 2 servers"), "{status}");
    let plan = run(rig, 0, &["prune", "shop", "--dry-run"]);
    assert!(
        plan.stdout.contains("held: the database has backups of more than one server") && plan.stderr.contains("6 backups would go"),
        "{plan:?}"
    );
    assert_eq!(run(rig, 3, &["prune", "shop", "--json"]).json()[0]["result"]["removed"], serde_json::json!([]));
    assert!(run(rig, 0, &["show", "shop/shop@latest"]).stdout.contains(&identifier(&two.new)));

    run(rig, 0, &["prune", "shop", "--confirm"]);
    assert_eq!((of(rig, &two.old.cluster), of(rig, &two.new)), ((0, 0), (2, 2)), "one line from now on");
    run(rig, 0, &["backup", "shop"]);
    assert_eq!(of(rig, &two.new), (2, 2), "pruned without asking again");
    assert!(!run(rig, 0, &["status"]).stdout.contains("servers"));

    two.configure(rig, &two.old.cluster, "globals = true\n");
    run(rig, 0, &["backup", "shop"]);
    assert_eq!((of(rig, &two.old.cluster), of(rig, &two.new)), ((1, 1), (1, 1)), "both were agreed to");
    assert_eq!(two.mails().len(), 1);
}

#[test]
fn two_daemons_with_one_storage_and_one_project_name_do_not_prune_each_others_backups() {
    let two = Two::new();
    let (here, there) = (&two.old.rig, Rig::new());
    two.configure(here, &two.old.cluster, "");
    for _ in 0..2 {
        run(here, 0, &["backup", "shop"]);
    }
    two.configure(&there, &two.new, "");
    let file = there.path().join("pgdumpd.toml");
    let text = std::fs::read_to_string(&file).expect("configuration");
    std::fs::write(&file, text.replace(&there.storage().display().to_string(), &here.storage().display().to_string()))
        .expect("configuration");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    for _ in 0..4 {
        run(&there, 0, &["backup", "shop"]);
    }
    assert_eq!((of(&there, &two.old.cluster).0, of(&there, &two.new).0), (2, 4), "nothing of the other's went");
    for row in here.backups() {
        let file = here.storage().join("shop").join(row["file"].as_str().expect("a file"));
        assert!(file.exists(), "{row} is gone");
    }
    assert_eq!(two.mails().iter().filter(|mail| mail.contains("HELD shop: it has backups of 2 servers")).count(), 1, "{:#?}", two.mails());
    the_others_are_nothing_to_fall_back_on(&two);
    for entry in std::fs::read_dir(there.state()).expect("state").flatten() {
        std::fs::remove_file(entry.path()).expect("removed");
    }
    run(&there, 0, &["backup", "shop"]);
    assert_eq!((of(&there, &two.old.cluster).0, of(&there, &two.new).0), (2, 5), "nor with a lost catalog");
}

/// The first of the two knows the other's backups, by the look that the daemon takes each hour, and its own are older.
fn the_others_are_nothing_to_fall_back_on(two: &Two) {
    let rig = &two.old.rig;
    two.configure(rig, &two.old.cluster, "max_backup_age = \"26h\"\n");
    let settings = config::load(&rig.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
    let world = World::open(&settings, Clock::system()).expect("a world");
    reindex::reindex(&world).expect("a look");
    assert_eq!((of(rig, &two.old.cluster).0, of(rig, &two.new).0), (2, 4), "it knows all of them");
    let ids = |cluster: &Cluster| -> Vec<String> {
        let of = |row: &serde_json::Value| row["system_identifier"] == identifier(cluster).as_str();
        rig.backups().iter().filter(|row| of(row)).filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
    };
    let (own, others) = (ids(&two.old.cluster), ids(&two.new));
    let names = |text: &str, ids: &[String]| ids.iter().any(|id| text.contains(id.as_str()));
    let status = run(rig, 0, &["status"]).stdout;
    assert!(names(&status, &own) && !names(&status, &others), "{status}");
    let text = std::fs::read_to_string(rig.path().join("pgdumpd.toml")).expect("configuration");
    std::fs::write(rig.path().join("pgdumpd.toml"), text.replace(&two.old.cluster.port.to_string(), "1")).expect("configuration");
    run(rig, 75, &["backup", "shop"]);
    let mail = two.mails().into_iter().rfind(|mail| mail.contains("FAILED shop")).expect("a mail");
    assert!(names(&mail, &own) && !names(&mail, &others), "{mail}");
    assert!(mail.contains(&format!("from   127.0.0.1:{}", two.old.cluster.port)), "{mail}");
    let catalog = rusqlite::Connection::open(rig.state().join("catalog.db")).expect("catalog");
    let older = "UPDATE backups SET started_at = started_at - 97200000000 WHERE system_identifier = ?1";
    assert_eq!(catalog.execute(older, [identifier(&two.old.cluster)]).expect("older"), 2);
    let age = "UPDATE alerts SET state = json_set(state, '$.last_good_at', null, '$.first_seen', '2020-01-01T00:00:00Z')";
    catalog.execute(age, []).expect("alerts");
    notice::stale(&world, &Desk { settings: &settings, config_file: None, hands: Hands::Daemon }).expect("a look");
    let status = run(rig, 1, &["status"]).stdout;
    assert!(status.contains("STALE, and FAILING"), "another server's new backup is no new one of this: {status}");
}

#[test]
fn another_servers_backup_is_not_named_in_place_of_a_damaged_or_lost_one() {
    let two = Two::new();
    let rig = &two.old.rig;
    two.configure(rig, &two.old.cluster, "");
    run(rig, 0, &["backup", "shop"]);
    run(rig, 0, &["backup", "shop"]);
    two.configure(rig, &two.new, "");
    run(rig, 0, &["backup", "shop"]);
    let (old, new) = (ids(rig, &two.old.cluster), ids(rig, &two.new).remove(0));
    let file = |id: &str| {
        let rows = rig.backups();
        let row = rows.iter().find(|row| row["id"] == id).expect("a backup");
        rig.storage().join("shop").join(row["file"].as_str().expect("a file"))
    };
    let spoil = |id: &str| {
        let mut bytes = std::fs::read(file(id)).expect("a dump");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(file(id), bytes).expect("a dump");
    };
    let damaged = || two.mails().into_iter().rfind(|mail| mail.contains("DAMAGED shop")).expect("a mail");
    let (first, second) = (&old[1], &old[0]);
    spoil(second);
    run(rig, 1, &["verify", second]);
    let mail = damaged();
    assert!(mail.contains(first.as_str()) && !mail.contains(&new), "the older one of the same server: {mail}");

    let (dump, manifest) = (file(first), format!("{}.json", file(first).display()));
    std::fs::remove_file(dump).and_then(|()| std::fs::remove_file(manifest)).expect("removed");
    let settings = config::load(&rig.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
    let world = World::open(&settings, Clock::system()).expect("a world");
    reindex::reindex(&world).expect("a look");
    notice::lost(&world, &Desk { settings: &settings, config_file: None, hands: Hands::Daemon }).expect("a look");
    let catalog = rusqlite::Connection::open(rig.state().join("catalog.db")).expect("catalog");
    let body = "SELECT json_extract(message, '$.body') FROM outbox WHERE json_extract(message, '$.subject') LIKE '%LOST shop%'";
    let mail: String = catalog.query_row(body, [], |row| row.get(0)).expect("a mail");
    assert!(mail.contains("No good backup of shop is left") && !mail.contains(&new), "{mail}");
    // One line from now on: what there is counts.
    run(rig, 0, &["backup", "shop"]);
    let newest = ids(rig, &two.new).remove(0);
    run(rig, 0, &["prune", "shop", "--confirm"]);
    let is_there = |id: &str| rig.backups().iter().any(|row| row["id"] == id);
    assert!(is_there(second) && is_there(&newest));
    let told = world.catalog.read(|reader| {
        let row = reader.backup(&pgdumpd::model::backup::RunId(second.clone()))?.expect("a backup");
        pgdumpd::ops::origin::instead_of(reader, &row, world.clock.now())
    });
    assert_eq!(told.expect("an answer").map(|row| row.id.to_string()), Some(newest));
}

/// The ids of the backups of `shop` from this server, newest first.
fn ids(rig: &Rig, cluster: &Cluster) -> Vec<String> {
    let is_its = |row: &serde_json::Value| row["database"] == "shop" && row["system_identifier"] == identifier(cluster).as_str();
    rig.backups().iter().filter(|row| is_its(row)).filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
}

/// Makes the backups of a server so many hours older.
fn older(rig: &Rig, cluster: &Cluster, hours: i64) {
    let catalog = rusqlite::Connection::open(rig.state().join("catalog.db")).expect("catalog");
    let sql = "UPDATE backups SET started_at = started_at - ?2 WHERE system_identifier = ?1";
    let moved = catalog.execute(sql, rusqlite::params![identifier(cluster), hours * 3_600_000_000]).expect("older");
    assert!(moved > 0);
}

#[test]
fn a_restore_of_the_newest_asks_of_which_server_until_a_word() {
    let two = Two::new();
    let rig = &two.old.rig;
    two.old.cluster.psql("create role boss");
    two.old.cluster.psql_in("shop", "alter table orders owner to boss");
    two.configure(rig, &two.old.cluster, "globals = true\n");
    run(rig, 0, &["backup", "shop"]);
    older(rig, &two.old.cluster, 48);
    two.configure(rig, &two.new, "globals = true\n");
    run(rig, 0, &["backup", "shop"]);
    let (old, new) = (ids(rig, &two.old.cluster).remove(0), ids(rig, &two.new).remove(0));
    let day = |days: i64| (chrono::Utc::now() - chrono::TimeDelta::days(days)).format("%Y-%m-%d").to_string();
    let (today, before) = (format!("shop@{}", day(0)), format!("shop@{}", day(1)));
    let merge = ["--table", "orders", "--on-conflict", "skip", "--dry-run"];
    for (name, more) in
        [("shop@latest", &[][..]), ("shop/shop@latest", &["--dry-run"]), (&today, &[]), ("latest", &[]), ("shop@latest", &merge)]
    {
        let told = run(rig, 2, &[&["restore", name, "--to", "a b"], more].concat()).stderr;
        assert!(told.contains(&format!("{name:?} could be a backup of any of 2 servers, and nobody has said")), "{told}");
        for (id, cluster, days) in [(&old, &two.old.cluster, 2), (&new, &two.new, 0)] {
            let line = told.lines().find(|line| line.trim_start().starts_with(&format!("{id}, {}", day(days))));
            let server = format!(", of 127.0.0.1:{}, system identifier {}", cluster.port, identifier(cluster));
            assert!(line.is_some_and(|line| line.ends_with(&server)), "{told}");
        }
        assert!(told.contains(&format!("pgdumpd restore {new} --to 'a b'\n")) && told.contains("pgdumpd prune shop --confirm"), "{told}");
    }
    assert_eq!(two.new.psql("select count(*) from pg_database where datname = 'a b'"), "0");
    // Before there were backups of the other one there is no question, nor is there one about an id.
    let plan = |backup: &str, more: &[&str]| run(rig, 0, &[&["restore", backup, "--to", "copy", "--dry-run"], more].concat()).stdout;
    assert!(plan(&before, &["--globals"]).contains(&old));
    assert!(plan(&new, &[]).contains(&new));
    // Roles are those of the backup's own server.
    let globals = |cluster: &Cluster| {
        let is_its = |row: &&serde_json::Value| row["content"] == "globals" && row["system_identifier"] == identifier(cluster).as_str();
        rig.backups().iter().find(is_its).and_then(|row| row["id"].as_str().map(str::to_owned)).expect("roles")
    };
    let (of_old, of_new) = (plan(&old, &["--globals"]), plan(&new, &["--globals"]));
    assert!(of_old.contains(&globals(&two.old.cluster)) && of_new.contains(&globals(&two.new)), "{of_old}{of_new}");
    run(rig, 0, &["prune", "shop", "--confirm"]);
    assert!(plan("shop@latest", &[]).contains(&new) && plan(&today, &[]).contains(&new), "one line");
}

#[test]
fn reading_and_drills_take_the_own_servers_newest_where_another_pgdumpd_has_the_same_name() {
    let two = Two::new();
    let (here, there) = (&two.old.rig, Rig::new());
    two.configure(here, &two.old.cluster, "");
    run(here, 0, &["backup", "shop"]);
    two.configure(&there, &two.new, "");
    let file = there.path().join("pgdumpd.toml");
    let text = std::fs::read_to_string(&file).expect("configuration");
    std::fs::write(&file, text.replace(&there.storage().display().to_string(), &here.storage().display().to_string()))
        .expect("configuration");
    run(&there, 0, &["backup", "shop"]);
    let settings = config::load(&here.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
    reindex::reindex(&World::open(&settings, Clock::system()).expect("a world")).expect("a look");
    let (own, others) = (ids(here, &two.old.cluster).remove(0), ids(here, &two.new).remove(0));
    let shown = run(here, 0, &["show", "shop@latest"]);
    assert!(shown.stdout.contains(&own) && !shown.stdout.contains(&others), "{shown:?}");
    let note = format!("note: shop@latest is {own} here; {others} is newer, and another server's (127.0.0.1:{})", two.new.port);
    assert!(shown.stderr.contains(&note), "{shown:?}");
    assert_eq!(run(here, 0, &["cat", "shop@latest", "orders"]).stdout.lines().count(), 4, "a header and three rows of the own one");
    assert!(run(here, 0, &["verify", "latest"]).stdout.contains(&format!("{own} shop/shop: good")));
    let diff = run(here, 0, &["diff", &others, "shop@latest"]).stdout;
    assert!(diff.contains(&format!("- {others} of shop/shop")) && diff.contains(&format!("+ {own} of shop/shop")), "{diff}");
    assert_eq!(run(here, 0, &["show", &others]).stderr, "", "an id is an id");
    for what in ["shop", "shop@latest"] {
        let answer = run(here, 0, &["drill", what, "--on", &two.new.url("postgres"), "--json"]).json();
        assert_eq!((&answer["backups"][0]["backup"]["id"], answer["backups"].as_array().map(Vec::len)), (&own.as_str().into(), Some(1)));
    }
    // The other one's own is the newest of all.
    let shown = run(&there, 0, &["show", "shop@latest"]);
    assert!(shown.stdout.contains(&others) && shown.stderr.is_empty(), "{shown:?}");
    run(here, 0, &["prune", "shop", "--confirm"]);
    assert!(run(here, 0, &["show", "shop@latest"]).stdout.contains(&others), "one line");
}
