//! Every refusal in its words.

use insta::assert_snapshot;

use super::{HEAD, nothing, parse, settings, shop, told, told_of_project};

#[test]
fn all_problems_of_a_file_are_told_together() {
    let text = "[daemon]\nmax_paralel = 3\ntime_zone = \"Europe/Berlim\"\n[storage.main]\npath = \"backups\"\n[smpt]\n\
                [[project]]\nname = \"shop\"\nconnection = \"postgresql://b@db/shop\"\nstorage = [\"mian\"]\n\
                retention = { keep_dayly = 3 }\n[[project.schedule]]\ncron = \"99 2 * * *\"\n[[project]]\nname = \"SHOP\"\nglobals = \"yes\"\n";
    assert_snapshot!(told(text), @r#"
        pgdumpd.toml:2: daemon.max_paralel: unknown key; did you mean max_parallel?
        pgdumpd.toml:3: daemon.time_zone: unknown time zone "Europe/Berlim"; expected a time zone such as "Europe/Berlin"; did you mean Europe/Berlin?
        pgdumpd.toml:5: storage.main.path: is not an absolute path; expected a path that begins with / and is free of ..
        pgdumpd.toml:6: smpt: unknown section; did you mean smtp?
        pgdumpd.toml:10: project "shop": storage: no storage is named mian; did you mean main?
        pgdumpd.toml:11: project "shop": retention.keep_dayly: unknown key; did you mean keep_daily?
        pgdumpd.toml:13: project "shop": schedule 1: cron: minute `99`: 99 is outside 0 to 59
        pgdumpd.toml:14: project "SHOP": connection is missing; say how the server is reached: connection = "postgresql://user@host/database"
        pgdumpd.toml:14: project "SHOP": the name differs from "shop" only in upper and lower case; their folders would be one where a file system ignores case
        pgdumpd.toml:16: project "SHOP": globals: wrong type, a text; expected true or false
    "#);
}

#[test]
fn wrong_syntax_names_the_line_and_never_quotes_it() {
    assert_snapshot!(told("[daemon]\nmax_parallel = \n[smtp\npassword = \"hunter2\" x\n[daemon]\n"), @r"
        pgdumpd.toml:2: not TOML: string values must be quoted, expected literal string
        pgdumpd.toml:3: not TOML: unclosed table, expected `]`
        pgdumpd.toml:4: not TOML: unexpected key or value, expected newline, `#`
        pgdumpd.toml:5: not TOML: duplicate key
    ");
    assert!(!told("password = \"hunter2\nx").contains("hunter2"));
}

#[test]
fn names_that_are_nearly_right_are_suggested() {
    let table =
        ["retension = {}", "cron = \"1 2 * * *\"", "zzz = 1", "retention = { keep_dayly = 3 }", "limits = { lock_wiat = \"5 min\" }"];
    assert_snapshot!(told_of_project(&table), @r#"
        :10: project "shop": retension: unknown key; did you mean retention?
        :10: project "shop": cron: unknown key; cron belongs in [[project.schedule]]
        :10: project "shop": zzz: unknown key; [[project]] knows name, description, enabled, connection, password, databases, exclude_databases, globals, storage, retention, anomaly, max_backup_age, limits, to, reminder, catch_up, server_lock, standby, pg_bin_dir, compression_workers, verify, drill, check, content, format, compression, jobs, tables, exclude_tables, schemas, exclude_schemas, exclude_table_data, options, time_zone, spread, schedule
        :10: project "shop": retention.keep_dayly: unknown key; did you mean keep_daily?
        :10: project "shop": limits.lock_wiat: unknown key; did you mean lock_wait?
    "#);
}

#[test]
fn wrong_types_say_what_was_expected() {
    let table = [
        "enabled = \"yes\"",
        "compression_workers = \"1\"",
        "compression_workers = 0",
        "max_backup_age = 26",
        "max_backup_age = \"26\"",
        "to = \"a@example.org\"",
        "to = [\"a@example.org\", \"nobody\"]",
        "tables = [\"a\", 1]",
        "retention = 3",
        "time_zone = \"Europe/Belrin\"",
        "pg_bin_dir = \"bin\"",
        "pg_bin_dir = \"/usr/../bin\"",
        "description = \"a\\nb\"",
        "databases = \"every\"",
        "databases = []",
        "databases = [\"a\", \"a\"]",
        "schedule = 1",
        "standby = \"pause\"",
        "standby = { pause_reply = \"1h\" }",
        "password = { file = \"/a\", env = \"B\" }",
        "password = {}",
    ];
    assert_snapshot!(told_of_project(&table), @r#"
        :10: project "shop": enabled: wrong type, a text; expected true or false
        :10: project "shop": compression_workers: wrong type, a text; expected a whole number from 1 to 64
        :10: project "shop": compression_workers: 0 is out of range; expected a whole number from 1 to 64
        :10: project "shop": max_backup_age: wrong type, a whole number; expected a duration of a second or more, such as "26h", or "none"
        :10: project "shop": max_backup_age: `26` has no unit: write `26 s`, `26 min`, `26 h` or `26 days`
        :10: project "shop": to: wrong type, a text; expected a list of mail addresses such as ["oncall@example.org"]
        :10: project "shop": to: "nobody" is not a mail address; expected a mail address such as "oncall@example.org"
        :10: project "shop": tables: wrong type, a whole number; expected text in quotes
        :10: project "shop": retention: wrong type, a whole number; expected a table such as { keep_last = 3, keep_daily = 14 }
        :10: project "shop": time_zone: unknown time zone "Europe/Belrin"; expected a time zone such as "Europe/Berlin"; did you mean Europe/Berlin?
        :10: project "shop": pg_bin_dir: is not an absolute path; expected a path that begins with / and is free of ..
        :10: project "shop": pg_bin_dir: contains ..; expected a path that begins with / and is free of ..
        :10: project "shop": description: contains a control character; expected text in quotes
        :10: project "shop": databases: unknown value every; expected a list of names such as ["shop"], or "all"
        :10: project "shop": databases: names no database; expected a list of names such as ["shop"], or "all"
        :10: project "shop": databases: "a" stands here twice
        :10: project "shop": schedule: wrong type, a whole number; expected [[project.schedule]] tables
        :10: project "shop": standby: unknown value pause; expected "as-is", "refuse" or { pause_replay = "1h" }
        :10: project "shop": standby.pause_reply: unknown key; did you mean pause_replay?
        :10: project "shop": standby: says nothing; expected "as-is", "refuse" or { pause_replay = "1h" }
        :10: project "shop": password: names more than one source; expected { file = "/path" }, { env = "NAME" }, { command = ["…"] } or { credential = "name" }
        :10: project "shop": password: names no source; expected { file = "/path" }, { env = "NAME" }, { command = ["…"] } or { credential = "name" }
    "#);
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let table = [
        "compression = \"zstd:20\"",
        "compression = \"ztsd\"",
        "compression = \"none:3\"",
        "content = \"globals\"",
        "format = \"custm\"",
        "format = \"tar\"\ncompression = \"native\"",
        "jobs = 4",
        "tables = [\"a\"]\nschemas = [\"b\"]",
        "options = [\"-j\"]",
        "options = [\"-O\"]",
        "options = [\"--if-exists\"]",
        "options = [\"--file=/etc/x\"]",
        "options = [\"--no-coments\"]",
        "[[project.schedule]]\ncron = \"@daily\"\noptions = [\"--enable-row-security\"]",
    ];
    assert_snapshot!(told_of_project(&table), @r#"
        :10: project "shop": compression: zstd has no level 20; expected 1 to 19
        :10: project "shop": compression: unknown compression ztsd; expected "zstd", "gzip", "bzip2", each also with a level ("zstd:9"), "none" or "native"; did you mean zstd?
        :10: project "shop": compression: none has no levels; expected "zstd", "gzip", "bzip2", each also with a level ("zstd:9"), "none" or "native"
        :10: project "shop": content: unknown value globals; expected "full", "schema" or "data"
        :10: project "shop": format: unknown value custm; expected "custom", "plain", "tar" or "directory"; did you mean custom?
        :11: project "shop": compression: native compression needs the custom or the directory format, not tar
        :10: project "shop": jobs: more than one job needs the directory format, not custom; set format = "directory", or leave jobs out
        :11: project "shop": schemas: has no effect beside tables, pg_dump ignores it; write the schema into each pattern: tables = ["sales.*"]
        :10: project "shop": options: the pg_dump option "-j" can't be used: use the key jobs with the directory format
        :10: project "shop": options: -O is not a long option; write "--no-owner"
        :10: project "shop": options: the pg_dump option "--if-exists" can't be used: it says how --clean drops, and that isn't there; add --clean, or leave it out
        :10: project "shop": options: the pg_dump option "--file=/etc/x" can't be used: pgdumpd itself stores what pg_dump writes
        :10: project "shop": options: the pg_dump option "--no-coments" can't be used: it isn't known; did you mean "--no-comments"?
        :12: project "shop": schedule 1: options: the pg_dump option "--enable-row-security" can't be used: it silently leaves out the rows that the role may not see; give the role BYPASSRLS instead
    "#);
}

#[test]
fn schedules_that_never_come_are_refused() {
    let table = [
        "[[project.schedule]]",
        "[[project.schedule]]\ncron = \"1 2 30 2 *\"",
        "[[project.schedule]]\ncron = \"@dayly\"",
        "[[project.schedule]]\nname = \"n\"\nevery = \"500ms\"",
        "[[project.schedule]]\nevery = \"1h\"\ncron = \"@daily\"",
        "[[project.schedule]]\nevery = \"1h\"\n[[project.schedule]]\nevery = \"2h\"",
        "[[project.schedule]]\nname = \"n\"\nevery = \"1h\"\n[[project.schedule]]\nname = \"n\"\nevery = \"2h\"",
    ];
    assert_snapshot!(told_of_project(&table), @r#"
        :10: project "shop": schedule 1: says no time; add cron = "15 2 * * *" or every = "6h"
        :11: project "shop": schedule 1: cron: `1 2 30 2 *` can never come due: February has no day 30; for the end of every month use the first day of the next
        :11: project "shop": schedule 1: cron: `@dayly` is unknown: @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually are known
        :12: project "shop": schedule "n": every: is shorter than a second; expected a duration of a second or more, such as "26h" or "15 min"
        :10: project "shop": schedule 1: has both cron and every; remove one of them
        :12: project "shop": schedule 2: a second schedule "default"; give each schedule a name
        :13: project "shop": schedule "n": a second schedule "n"; schedules of a project need different names
    "#);
}

#[test]
fn retention_that_says_nothing_or_too_little_is_refused() {
    let table =
        ["retention = { keep_last = 0, keep_daily = 0 }", "retention = { keep_last = 3, min_keep = 0 }", "retention = { keep_last = -1 }"];
    assert_snapshot!(told_of_project(&table), @r#"
        :10: project "shop": retention: every rule is zero, which counts as unset and would keep everything; give one rule a number, or leave retention out to keep everything
        :10: project "shop": retention.min_keep: 0 would let the last backup go; expected 1 or more
        :10: project "shop": retention.keep_last: -1 is out of range; expected a whole number from 0 to 1000000
    "#);
}

#[test]
fn a_check_of_a_database_that_the_project_has_not_is_refused() {
    let check = |database: &str| {
        let table =
            format!("databases = [\"shop\", \"billing\"]\n[[project.check]]\nname = \"a\"\nsql = \"select true\"\ndatabase = {database}");
        told_of_project(&[table.as_str()])
    };
    for (database, words) in [
        ("\"biling\"", "the project has no database \"biling\"; did you mean billing?"),
        ("[\"shop\", \"x\"]", "the project has no database \"x\"; databases names shop, billing"),
        ("[]", "is empty; expected a name such as \"shop\", or a list of names"),
    ] {
        assert!(check(database).contains(words), "{database}: {}", check(database));
    }
    assert!(!check("[\"shop\", \"billing\"]").contains("database:"), "{}", check("\"shop\""));
}

#[test]
fn names_and_folders_must_not_clash() {
    let project = |name: &str| format!("[[project]]\nname = {name:?}\nconnection = \"postgresql://b@db/x\"\n");
    let twice = format!("{HEAD}{}{}{}", project("shop"), project("shop"), project("Shop"));
    assert_snapshot!(told(&twice), @r#"
        pgdumpd.toml:10: project "shop": a second project of this name; names are unique
        pgdumpd.toml:13: project "Shop": the name differs from "shop" only in upper and lower case; their folders would be one where a file system ignores case
    "#);
    let long = format!("{HEAD}{}{}", project(&"é".repeat(14)), project(&"x".repeat(80)));
    assert_snapshot!(told(&long), @r#"pgdumpd.toml:8: project "éééééééééééééé": name: the name is too long: 84 bytes once percent-encoded for its folder, of at most 80"#);
    let storages = "[daemon]\nstate_dir = \"/var/lib/pgdumpd\"\n[storage.a]\npath = \"/b\"\n[storage.b]\npath = \"/b/c\"\n\
                    [storage.c]\npath = \"/b\"\n[storage.d]\npath = \"/var/lib/pgdumpd/x\"\n[storage.e]\n[storage.f]\npath = \"/bc\"\n";
    assert_snapshot!(told(storages), @r#"
        pgdumpd.toml:6: storage.b.path: overlaps the folder of storage "a"; each storage needs a folder of its own
        pgdumpd.toml:8: storage.c.path: is the folder of storage "a"; each storage needs a folder of its own
        pgdumpd.toml:8: storage.c.path: overlaps the folder of storage "b"; each storage needs a folder of its own
        pgdumpd.toml:10: storage.d.path: overlaps daemon.state_dir; keep backups and catalog apart, so that losing one spares the other
        pgdumpd.toml:11: storage.e: path is missing; name the folder that backups go to: path = "/var/backups/pgdumpd"
    "#);
}

#[test]
fn storages_must_be_known_and_one() {
    assert_snapshot!(told_of_project(&["storage = [\"mian\"]", "storage = [\"main\", \"other\"]", "storage = []", "storage = \"main\""]), @r#"
        :10: project "shop": storage: no storage is named mian; did you mean main?
        :10: project "shop": storage: names 2 storages, and pgdumpd writes to one; copy the storage's folder elsewhere by other means, or make a second project
        :10: project "shop": storage: names no storage; expected a list with one name such as ["main"]
        :10: project "shop": storage: wrong type, a text; expected a list with one name: ["main"]
    "#);
    let two = shop("").replace("[smtp]", "[storage.other]\npath = \"/other\"\n[smtp]");
    assert_snapshot!(told(&two), @r#"pgdumpd.toml:9: project "shop": storage is missing, and there are several: main, other"#);
    let flat = shop("").replace("[storage.main]", "[storage]\ntype = \"local\"");
    assert_snapshot!(told(&flat), @r#"
        pgdumpd.toml:2: storage.type: stands in [storage] itself; expected a table with a name of its own, such as [storage.main]
        pgdumpd.toml:3: storage.path: stands in [storage] itself; expected a table with a name of its own, such as [storage.main]
        pgdumpd.toml:8: project "shop": there is no storage; add [storage.main] with a path
    "#);
}

#[test]
fn what_is_missing_is_named() {
    assert_snapshot!(told("[storage.main]\n[smtp]\npassword = { env = \"A\" }\n[[project]]\n[defaults]\nname = \"x\"\n"), @r#"
        pgdumpd.toml:1: storage.main: path is missing; name the folder that backups go to: path = "/var/backups/pgdumpd"
        pgdumpd.toml:2: smtp: host is missing
        pgdumpd.toml:2: smtp: from is missing
        pgdumpd.toml:2: smtp: to is missing
        pgdumpd.toml:2: smtp: a password without a username; set username, or remove password
        pgdumpd.toml:4: project 1: name is missing
        pgdumpd.toml:4: project 1: connection is missing; say how the server is reached: connection = "postgresql://user@host/database"
        pgdumpd.toml:6: defaults.name: a name belongs in [[project]]
    "#);
    assert_snapshot!(told("daemon = 1\nproject = { name = \"x\" }\nsmtp = 1\n"), @r"
        pgdumpd.toml:1: daemon: wrong type, a whole number; expected a table, under a header such as [daemon]
        pgdumpd.toml:2: project: is one table, and a list of them is expected; write [[project]] with two brackets
        pgdumpd.toml:3: smtp: wrong type, a whole number; expected a table, under a header such as [daemon]
    ");
}

#[test]
fn bad_connections_are_refused_without_repeating_them() {
    let connections = [
        r#""shop""#,
        r#""postgresql://u:p/ss@db/shop""#,
        r#""postgresql://u:p%zz@db/shop""#,
        r#""postgresql://u:hunter2@db/shop@x""#,
        r#""postgresql://u@db:70000/shop""#,
        r#""postgresql://u@db/shop?sslmod=require""#,
        r#""postgresql://u@db/shop?sslmode=requires""#,
        r#""host=db hunter2""#,
        r#""host=db password='hunter2""#,
        r#"{ hots = "db" }"#,
        r#"{ host = "db", sslpassword = "hunter2" }"#,
        r"{ host = true }",
        "7",
    ];
    let table: Vec<String> = connections.iter().map(|connection| shop("").replace("\"postgresql://backup@db/shop\"", connection)).collect();
    let all = table.iter().map(|text| told(text).replace("pgdumpd.toml", "")).collect::<Vec<_>>().join("\n");
    assert!(!all.contains("hunter2"), "{all}");
    assert_snapshot!(all, @r#"
        :9: project "shop": connection: is neither a URL nor a keyword string; expected a URL such as "postgresql://backup@db.internal/shop", a keyword string, or a table of libpq keywords
        :9: project "shop": connection: the part after the host's : is not a port; special characters of a password are percent-encoded: / as %2F, @ as %40, : as %3A
        :9: project "shop": connection: a % is not followed by two hexadecimal digits; write % as %25
        :9: project "shop": connection: the database's name contains @ or /; write @ as %40 and / as %2F, also in the password
        :9: project "shop": connection: the part after the host's : is not a port; special characters of a password are percent-encoded: / as %2F, @ as %40, : as %3A
        :9: project "shop": connection: libpq has no keyword sslmod; did you mean sslmode?
        :9: project "shop": connection: unknown sslmode; expected disable, allow, prefer, require, verify-ca, verify-full; did you mean require?
        :9: project "shop": connection: a keyword without = and a value; expected a URL such as "postgresql://backup@db.internal/shop", a keyword string, or a table of libpq keywords
        :9: project "shop": connection: a quoted value without its closing quote; expected a URL such as "postgresql://backup@db.internal/shop", a keyword string, or a table of libpq keywords
        :9: project "shop": connection.hots: libpq has no keyword hots; did you mean host?
        :9: project "shop": connection.sslpassword: sslpassword is a secret that would have to be passed on in the open; put it into a service file and name that: service = "…"
        :9: project "shop": connection.host: wrong type, true or false; expected text in quotes
        :9: project "shop": connection: wrong type, a whole number; expected a URL such as "postgresql://backup@db.internal/shop", a keyword string, or a table of libpq keywords
    "#);
}

#[test]
fn two_passwords_are_one_too_many() {
    let text = shop("password = { env = \"PW\" }").replace("backup@", "backup:hunter2@");
    assert_snapshot!(told(&text), @r#"pgdumpd.toml:9: project "shop": connection: holds a password, and the key password names another; remove one of them"#);
}

#[test]
fn what_is_doubtful_is_a_warning() {
    assert_snapshot!(super::lines(&settings("").warnings), @r"
        pgdumpd.toml: there is no [[project]], so nothing is backed up
        pgdumpd.toml: there is no [smtp], so nobody is told when a backup fails; add [smtp]
    ");
    let doubtful = |keys: &str| super::lines(&settings(&shop(keys)).warnings);
    assert_snapshot!(doubtful("max_backup_age = \"20h\"\n[[project.schedule]]\ncron = \"@daily\""), @r#"pgdumpd.toml:10: project "shop": max_backup_age: 20h is shorter than the longest wait between two full backups, 1d; the project would be told as stale again and again; allow more, also for the dump itself"#);
    assert_snapshot!(doubtful("max_backup_age = \"20h\"\ncontent = \"schema\"\n[[project.schedule]]\ncron = \"@daily\""), @r#"pgdumpd.toml:10: project "shop": max_backup_age: 20h is shorter than the longest wait between two backups (schema), 1d; the project would be told as stale again and again; allow more, also for the dump itself"#);
    assert_snapshot!(doubtful("max_backup_age = \"26h\"\n[[project.schedule]]\ncron = \"@daily\"\ncontent = \"schema\""), @r#"pgdumpd.toml:10: project "shop": max_backup_age: no schedule makes a full backup, so the project will be told as stale; let a schedule make full ones; or, where parts are all that is wanted, say so for the project itself, not only for its schedules (content, tables, …): it is judged by those parts then"#);
    assert_snapshot!(doubtful("max_backup_age = \"26h\"\n[[project.schedule]]\ncron = \"@daily\"\nenabled = false"), @r#"pgdumpd.toml:10: project "shop": max_backup_age: no schedule makes a full backup, so the project will be told as stale; let one do so, or set max_backup_age = "none""#);
    // Twice a week each, a day and a half apart together; and the plain case. Nothing to warn of.
    let weekdays = "max_backup_age = \"4 days\"\n[[project.schedule]]\nname = \"a\"\ncron = \"0 2 * * mon\"\n[[project.schedule]]\nname = \"b\"\ncron = \"0 2 * * thu\"";
    assert_eq!(doubtful(weekdays), "");
    assert_eq!(doubtful("max_backup_age = \"26h\"\n[[project.schedule]]\ncron = \"15 2 * * *\""), "");
}

/// libpq would take the one that is called like the user.
#[test]
fn a_project_without_a_database_is_refused() {
    for unnamed in ["db", "db/", "db/?sslmode=require", "db/?dbname="] {
        let words = "pgdumpd.toml:9: project \"shop\": connection: no database is named, neither here nor in databases; set databases";
        assert_eq!(told(&shop("").replace("db/shop", unnamed)), words);
    }
    for named in ["db/?dbname=shop", "db/?service=shop"] {
        settings(&shop("").replace("db/shop", named));
    }
    settings(&shop("databases = \"all\"").replace("db/shop", "db"));
}

#[test]
fn problems_of_variables_name_the_variable() {
    let env = |name: &str| match name {
        "PGDUMPD_DAEMON_MAX_PARALLEL" => Some(String::from("many")),
        "PGDUMPD_SMTP_PASSWORD" | "PGDUMPD_SMTP_PASSWORD_FILE" => Some(String::from("/x")),
        "PGDUMPD_SMTP_TO" => Some(String::from("a@example.org, nobody")),
        _ => None,
    };
    let problems = parse(HEAD, "pgdumpd.toml", &env).expect_err("wrong variables");
    assert_snapshot!(super::lines(&problems), @r#"
        environment: PGDUMPD_DAEMON_MAX_PARALLEL: wrong value; expected a whole number from 1 to 1000
        environment: PGDUMPD_SMTP_PASSWORD: PGDUMPD_SMTP_PASSWORD_FILE is set too; unset one of them
        environment: PGDUMPD_SMTP_TO: "nobody" is not a mail address; expected a mail address such as "oncall@example.org"
    "#);
    assert!(parse(HEAD, "pgdumpd.toml", &nothing).is_ok());
}

#[test]
fn a_problem_is_json_too() {
    let problems = parse(&shop("retension = {}"), "pgdumpd.toml", &nothing).expect_err("a typo");
    assert_snapshot!(serde_json::to_string(&problems).unwrap(), @r#"[{"file":"pgdumpd.toml","line":10,"section":"project \"shop\"","key":"retension","message":"unknown key","expected":null,"suggestion":"retention","hint":null}]"#);
}

#[test]
fn a_problem_of_the_defaults_is_told_once_at_its_own_line() {
    let projects = |keys: &str| {
        ["a", "b", "c"].map(|name| format!("[[project]]\nname = {name:?}\nconnection = \"postgresql://b@db/{name}\"\n{keys}")).concat()
    };
    assert_snapshot!(told(&format!("{HEAD}[defaults]\njobs = 4\nstorage = [\"mian\"]\ntables = [\"x\"]\nschemas = [\"y\"]\n{}", projects(""))), @r#"
    pgdumpd.toml:8: defaults.jobs: more than one job needs the directory format, not custom; set format = "directory", or leave jobs out
    pgdumpd.toml:9: defaults.storage: no storage is named mian; did you mean main?
    pgdumpd.toml:11: defaults.schemas: has no effect beside tables, pg_dump ignores it; write the schema into each pattern: tables = ["sales.*"]
    "#);
    // What a project makes wrong of it is the project's.
    assert_snapshot!(told(&format!("{HEAD}[defaults]\nformat = \"directory\"\njobs = 4\n{}", projects("format = \"custom\"\n"))), @r#"
    pgdumpd.toml:10: project "a": jobs: more than one job needs the directory format, not custom; set format = "directory", or leave jobs out
    pgdumpd.toml:14: project "b": jobs: more than one job needs the directory format, not custom; set format = "directory", or leave jobs out
    pgdumpd.toml:18: project "c": jobs: more than one job needs the directory format, not custom; set format = "directory", or leave jobs out
    "#);
    let nightly = "max_backup_age = \"1h\"\n[[defaults.schedule]]\ncron = \"@daily\"\n";
    let warnings = settings(&format!("{HEAD}[defaults]\n{nightly}{}", projects(""))).warnings;
    assert_snapshot!(super::lines(&warnings), @"pgdumpd.toml:8: defaults.max_backup_age: 1h is shorter than the longest wait between two full backups, 1d; the project would be told as stale again and again; allow more, also for the dump itself");
}
