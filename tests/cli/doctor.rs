//! `doctor` finds, each by name, what would fail tonight.

use crate::bench::{Bench, snapshot};
use crate::cluster::Setup;

/// The findings that aren't fine, a line each.
fn found(bench: &Bench, code: i32) -> String {
    let answer = bench.run(code, &["doctor", "--json"]).json();
    let findings = answer["findings"].as_array().cloned().unwrap_or_default();
    let told = |finding: &serde_json::Value| format!("{} {}: {}", finding["level"], finding["about"], finding["words"]);
    findings.iter().filter(|finding| finding["level"] != "fine").map(|finding| told(finding) + "\n").collect()
}

#[test]
fn a_sound_set_up_is_said_to_be_sound() {
    let bench = Bench::new();
    // A client without known holes, whatever is installed here.
    let script =
        "#!/bin/sh\ncase $1 in --version) echo 'pg_dump (PostgreSQL) 15.99';; *) exec /usr/lib/postgresql/15/bin/pg_dump \"$@\";; esac\n";
    let bin = bench.rig.clients(&[("pg_dump", script)]);
    let bin = format!("pg_bin_dir = {bin:?}\n");
    bench.rig.configure(&bench.project(
        "shop",
        "shop",
        &format!("{bin}{}", "[[project.schedule]]\nname = \"nightly\"\ncron = \"15 2 * * *\"\n"),
    ));
    snapshot!("doctor", bench.told(0, &["doctor", "shop"]));
    assert_eq!(bench.rig.stored(), Vec::<String>::new(), "doctor makes no backups");
}

#[test]
fn unreadable_objects_row_security_and_a_missing_database_are_named() {
    let bench = Bench::new();
    bench.cluster.psql("create role backup login");
    bench.cluster.psql_in("shop", "grant usage on schema public to backup; create table secret (id int); select lo_create(4711)");
    bench.cluster.psql_in("shop", "grant select on orders to backup; alter table orders enable row level security");
    let url = bench.cluster.url_as("backup", "");
    let project =
        format!("[[project]]\nname = \"shop\"\nconnection = {url:?}\ndatabases = [\"shop\", \"gone\"]\nlimits = {{ retries = [] }}\n");
    bench.rig.configure(&project);
    let told = found(&bench, 1);
    for words in ["orders", "secret", "4711", "gone"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    let words = bench.run(1, &["doctor", "shop"]).stdout;
    assert!(words.contains("ALTER ROLE \"backup\" BYPASSRLS"), "{words}");
}

#[test]
fn a_refused_password_and_an_unreadable_secret_are_named() {
    let bench = Bench::with(Setup::default().hba("host all all 127.0.0.1/32 scram-sha-256\n"));
    bench.cluster.psql("create role backup login password 'right-one'");
    let url = bench.cluster.url_as("backup", "shop");
    let project = |password: &str| {
        format!("[[project]]\nname = \"shop\"\nconnection = {url:?}\npassword = {password}\nlimits = {{ retries = [] }}\n")
    };
    bench.rig.configure(&project("\"wrong-one\""));
    let told = found(&bench, 1);
    assert!(told.contains("password authentication failed") && !told.contains("wrong-one"), "{told}");
    bench.rig.configure(&project("{ command = [\"sh\", \"-c\", \"echo locked away >&2; exit 3\"] }"));
    let told = found(&bench, 1);
    assert!(told.contains("the command sh for the secret ended with exit status 3"), "{told}");
    bench.rig.configure(&project("{ file = \"/nonexistent/password\" }"));
    snapshot!("missing_secret", bench.told(1, &["doctor"]));
}

#[test]
fn a_standby_that_the_project_refuses_is_a_problem() {
    let bench = Bench::new();
    let standby = Setup::default().standby_of(&bench.cluster).start();
    standby.wait_until("exists (select from pg_database where datname = 'billing')");
    let project = |rule: &str| format!("[[project]]\nname = \"shop\"\nconnection = {:?}\nstandby = {rule:?}\n", standby.url("postgres"));
    bench.rig.configure(&project("refuse"));
    let told = found(&bench, 1);
    assert!(told.contains("problem") && told.contains("is a standby, and this project refuses standbys"), "{told}");
    let refused = bench.run(2, &["backup", "shop", "--no-retry"]).stderr;
    assert!(refused.contains("is a standby, and this project refuses standbys"), "the same words: {refused}");
    bench.rig.configure(&project("as-is"));
    assert!(!found(&bench, 0).contains("standby"));
}

#[test]
fn an_old_client_and_a_missing_one_are_named() {
    let bench = Bench::new();
    let script =
        "#!/bin/sh\ncase $1 in --version) echo 'pg_dump (PostgreSQL) 15.2';; *) exec /usr/lib/postgresql/15/bin/pg_dump \"$@\";; esac\n";
    let bin = bench.rig.clients(&[("pg_dump", script)]);
    bench.rig.configure(&bench.project("shop", "shop", &format!("pg_bin_dir = {bin:?}\n")));
    let told = found(&bench, 0);
    assert!(told.contains("pg_dump 15.2") && told.contains("known security holes"), "{told}");
    let older = script.replace("15.2", "14.9");
    for name in ["pg_dump", "pg_dumpall", "pg_restore", "psql"] {
        let text = older.replace("bin/pg_dump", &format!("bin/{name}")).replace("'pg_dump", &format!("'{name}"));
        std::fs::remove_file(bin.join(name)).expect("link");
        std::fs::write(bin.join(name), text).expect("script");
        std::fs::set_permissions(bin.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    }
    let told = found(&bench, 1);
    assert!(told.contains("14.9") && told.contains("15."), "both versions are named: {told}");
    std::fs::remove_file(bin.join("pg_dump")).expect("script");
    let told = found(&bench, 1);
    assert!(told.contains("problem") && told.contains("pg_dump"), "{told}");
}

#[test]
fn a_vanished_disk_and_unreachable_mail_are_named() {
    let bench = Bench::new();
    let smtp = "[smtp]\nhost = \"127.0.0.1\"\nport = 1\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n";
    bench.rig.configure(&format!("{smtp}{}", bench.project("shop", "shop", "")));
    bench.run(0, &["backup", "shop"]);
    for entry in std::fs::read_dir(bench.rig.storage()).expect("storage").flatten() {
        if entry.path().is_file() {
            std::fs::remove_file(entry.path()).expect("marker");
        }
    }
    let told = found(&bench, 1);
    assert!(told.contains("not mounted?") && told.contains("can't be reached"), "{told}");
    assert_eq!(told.matches("not mounted?").count(), 1, "once, and not for each database: {told}");
    snapshot!("not_mounted", bench.told(1, &["backup", "shop", "--no-retry"]));
    let refused = bench.run(1, &["doctor", "--accept-storage", "main"]).stderr;
    assert!(refused.contains("isn't empty") && refused.contains("only its marker was lost, write another and accept it"), "{refused}");
    let line = refused.lines().find_map(|line| line.trim().strip_prefix("type: ")).expect("what to type");
    let typed = std::process::Command::new("sh").args(["-c", line]).status().expect("sh");
    assert!(typed.success(), "{line}");
    bench.run(1, &["doctor", "--accept-storage", "main"]);
    assert!(!found(&bench, 1).contains("not mounted?"), "the marker typed is taken");
    for name in ["shop", ".pgdumpd-storage"] {
        let path = bench.rig.storage().join(name);
        let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        gone.expect("an empty disk");
    }
    bench.run(1, &["doctor", "--accept-storage", "main"]);
    assert!(!found(&bench, 1).contains("not mounted?"));
}

/// A small disk at a folder, as root.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(size: &str, at: &std::path::Path) -> Self {
        let option = format!("size={size}");
        let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(at).status().expect("mount");
        assert!(mount.success());
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmount = std::process::Command::new("umount").arg(&self.0).status().expect("umount");
        assert!(unmount.success() || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_is_named() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("a_full_disk_is_named", "needs root and mount");
    }
    let bench = Bench::new();
    let storage = bench.rig.storage();
    let disk = Disk::new("64k", &storage);
    bench.rig.configure(&bench.project("shop", "shop", ""));
    let first = bench.rig.run(&["doctor"]);
    let filled = std::fs::write(storage.join("filler"), vec![0; 128 * 1024]);
    let told = bench.rig.run(&["doctor", "--json"]);
    let backup = bench.rig.run(&["backup", "shop"]);
    drop(disk);
    assert!(filled.is_err(), "the filler filled it");
    assert_eq!((first.code, told.code, backup.code), (0, 1, 1), "{first:?} {told:?} {backup:?}");
    assert!(told.stdout.contains("nothing free beyond its reserve"), "{told:?}");
}

#[test]
fn a_disk_with_less_than_its_reserve_is_told_as_such() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", ""));
    let config = bench.rig.path().join("pgdumpd.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    std::fs::write(&config, text.replace("reserve = \"0\"", "reserve = \"1000TB\"")).expect("written");
    let told = bench.run(1, &["backup", "shop"]).stderr;
    assert!(told.contains("nothing free beyond its reserve") && told.contains("lower its reserve"), "{told}");
}

/// Its files lie there before they are packed, and no earlier backup says how large they are.
#[test]
fn a_disk_too_small_for_the_first_directory_dump_is_named() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("a_disk_too_small_for_the_first_directory_dump_is_named", "needs root and mount");
    }
    let bench = Bench::new();
    bench.cluster.psql_in("shop", "create table big as select i, md5(i::text) from generate_series(1, 100000) i");
    let storage = bench.rig.storage();
    let disk = Disk::new("4m", &storage);
    bench.rig.configure(&bench.project("shop", "shop", "format = \"directory\""));
    let told = bench.rig.run(&["doctor"]);
    let backup = bench.rig.run(&["backup", "shop"]);
    drop(disk);
    assert_eq!((told.code, backup.code), (1, 1), "{told:?} {backup:?}");
    assert!(told.stdout.contains("the next backup needs about") && told.stdout.contains("MiB are free"), "{told:?}");
}

#[test]
fn a_full_state_folder_is_a_problem() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("a_full_state_folder_is_a_problem", "needs root and mount");
    }
    let bench = Bench::new();
    let state = bench.rig.state();
    let disk = Disk::new("2m", &state);
    bench.rig.configure(&bench.project("shop", "shop", ""));
    let first = bench.rig.run(&["doctor"]);
    let filled = std::fs::write(state.join("filler"), vec![0; 4 * 1024 * 1024]);
    let told = bench.rig.run(&["doctor", "--json"]);
    let left = std::fs::read_dir(&state).expect("state").flatten().any(|entry| entry.file_name().to_string_lossy().contains("doctor"));
    drop(disk);
    assert!(filled.is_err(), "the filler filled it");
    assert_eq!((first.code, told.code, left), (0, 1, false), "{first:?} {told:?}");
    assert!(told.stdout.contains("can't be written: No space left on device"), "{told:?}");
}

#[test]
fn a_project_folder_that_can_not_be_written_is_found() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("a_project_folder_that_can_not_be_written_is_found", "needs root and chattr");
    }
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", ""));
    bench.run(0, &["backup", "shop"]);
    let folder = bench.rig.storage().join("shop");
    let chattr = |flag: &str| std::process::Command::new("chattr").arg(flag).arg(&folder).status().is_ok_and(|status| status.success());
    if !chattr("+i") {
        return crate::skip::skip("a_project_folder_that_can_not_be_written_is_found", "needs a file system with attributes");
    }
    let told = bench.rig.run(&["doctor", "--json"]);
    assert!(chattr("-i"));
    assert!(told.code == 1 && told.stdout.contains("backups/shop"), "{told:?}");
}

/// Each pattern is given to `pg_dump` as well, so that the two agree.
#[test]
fn what_is_to_be_dumped_and_is_not_there_is_named_as_pg_dump_would() {
    let bench = Bench::new();
    let shop = |sql: &str| bench.cluster.psql_in("shop", sql);
    shop("create schema other; create table other.deep (); create table \"Mixed\" (); create view v as select 1; create sequence sq");
    shop("create index ix on orders ((1)); create schema \"Other Two\"");
    let tables = [
        ("nope", false),
        ("deep", false),
        ("other.deep", true),
        ("OTHER.d?ep", true),
        ("shop.other.deep", true),
        ("billing.other.deep", false),
        ("a.shop.other.deep", false),
        ("ORDERS", true),
        ("Mixed", false),
        ("\"Mixed\"", true),
        ("\"mixed*\"", false),
        ("v", true),
        ("sq", true),
        ("ix", false),
        ("or*", true),
        ("pg_class", true),
    ];
    let schemas = [("OTHER", true), ("other two", false), ("\"Other Two\"", true), ("oth*", true), ("nope*", false), ("shop.other", false)];
    let all = tables.iter().map(|case| ("table", case)).chain(schemas.iter().map(|case| ("schema", case)));
    for (option, (pattern, found)) in all {
        let shape = format!("{option}s = [{pattern:?}]\n");
        bench.rig.configure(&bench.project("shop", "shop", &shape));
        let told = bench.rig.run(&["doctor", "--json"]).json();
        let words = format!("nothing there matches {pattern:?} in {option}s, so the dump fails");
        let is_told =
            told["findings"].as_array().is_some_and(|all| all.iter().any(|one| one["words"] == words && one["level"] == "problem"));
        assert_eq!(is_told, !found, "{option} {pattern}: {told:#}");
        let dumped = bench.rig.run(&["backup", "shop", "--no-retry"]);
        assert_eq!(dumped.code == 0, *found, "pg_dump, {option} {pattern}: {dumped:?}");
    }
    // What is left out need not be there, and of several schedules each counts, once.
    let out = "exclude_tables = [\"nope\"]\nexclude_schemas = [\"nope\"]\nexclude_table_data = [\"nope\"]\n";
    let schedule =
        |name: &str, on: bool| format!("[[project.schedule]]\nname = {name:?}\ncron = \"@daily\"\ntables = [\"gone\"]\nenabled = {on}\n");
    bench.rig.configure(&bench.project("shop", "shop", out));
    assert!(!found(&bench, 0).contains("nothing there matches"));
    bench.rig.configure(&bench.project("shop", "shop", &schedule("a", false)));
    assert!(!found(&bench, 0).contains("nothing there matches"));
    bench.rig.configure(&bench.project("shop", "shop", &format!("{}{}", schedule("a", true), schedule("b", true))));
    assert_eq!(found(&bench, 1).matches("in tables, so the dump fails").count(), 1);
}
