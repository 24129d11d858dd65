//! Every refusal in its words.

use insta::assert_snapshot;

use super::{HEAD, nothing, parse, settings, shop, told, told_of_project};

#[test]
fn all_problems_of_a_file_are_told_together() {
    let text = "[daemon]\nmax_paralel = 3\ntime_zone = \"Europe/Berlim\"\n[storage.main]\npath = \"backups\"\n[smpt]\n\
                [[project]]\nname = \"shop\"\nconnection = \"postgresql://b@db/shop\"\nstorage = [\"mian\"]\n\
                retention = { keep_dayly = 3 }\n[[project.schedule]]\ncron = \"99 2 * * *\"\n[[project]]\nname = \"SHOP\"\nglobals = \"yes\"\n";
    assert_snapshot!(told(text), @"");
}

#[test]
fn wrong_syntax_names_the_line_and_never_quotes_it() {
    assert_snapshot!(told("[daemon]\nmax_parallel = \n[smtp\npassword = \"hunter2\" x\n[daemon]\n"), @"");
    assert!(!told("password = \"hunter2\nx").contains("hunter2"));
}

#[test]
fn names_that_are_nearly_right_are_suggested() {
    let table =
        ["retension = {}", "cron = \"1 2 * * *\"", "zzz = 1", "retention = { keep_dayly = 3 }", "limits = { lock_wiat = \"5 min\" }"];
    assert_snapshot!(told_of_project(&table), @"");
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
    assert_snapshot!(told_of_project(&table), @"");
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
    ];
    assert_snapshot!(told_of_project(&table), @"");
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
    assert_snapshot!(told_of_project(&table), @"");
}

#[test]
fn retention_that_says_nothing_or_too_little_is_refused() {
    let table =
        ["retention = { keep_last = 0, keep_daily = 0 }", "retention = { keep_last = 3, min_keep = 0 }", "retention = { keep_last = -1 }"];
    assert_snapshot!(told_of_project(&table), @"");
}

#[test]
fn names_and_folders_must_not_clash() {
    let project = |name: &str| format!("[[project]]\nname = {name:?}\nconnection = \"postgresql://b@db/x\"\n");
    let twice = format!("{HEAD}{}{}{}", project("shop"), project("shop"), project("Shop"));
    assert_snapshot!(told(&twice), @"");
    let long = format!("{HEAD}{}{}", project(&"é".repeat(14)), project(&"x".repeat(80)));
    assert_snapshot!(told(&long), @"");
    let storages = "[daemon]\nstate_dir = \"/var/lib/pgdumpd\"\n[storage.a]\npath = \"/b\"\n[storage.b]\npath = \"/b/c\"\n\
                    [storage.c]\npath = \"/b\"\n[storage.d]\npath = \"/var/lib/pgdumpd/x\"\n[storage.e]\n[storage.f]\npath = \"/bc\"\n";
    assert_snapshot!(told(storages), @"");
}

#[test]
fn storages_must_be_known_and_one() {
    assert_snapshot!(told_of_project(&["storage = [\"mian\"]", "storage = [\"main\", \"other\"]", "storage = []"]), @"");
    let two = shop("").replace("[smtp]", "[storage.other]\npath = \"/other\"\n[smtp]");
    assert_snapshot!(told(&two), @"");
}

#[test]
fn what_is_missing_is_named() {
    assert_snapshot!(told("[storage.main]\n[smtp]\npassword = { env = \"A\" }\n[[project]]\n[defaults]\nname = \"x\"\n"), @"");
    assert_snapshot!(told("daemon = 1\nproject = { name = \"x\" }\nsmtp = 1\n"), @"");
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
        r#"{ host = true }"#,
        "7",
    ];
    let table: Vec<String> = connections.iter().map(|connection| shop("").replace("\"postgresql://backup@db/shop\"", connection)).collect();
    let all = table.iter().map(|text| told(text).replace("pgdumpd.toml", "")).collect::<Vec<_>>().join("\n");
    assert!(!all.contains("hunter2"), "{all}");
    assert_snapshot!(all, @"");
}

#[test]
fn two_passwords_are_one_too_many() {
    let text = shop("password = { env = \"PW\" }").replace("backup@", "backup:hunter2@");
    assert_snapshot!(told(&text), @"");
}

#[test]
fn what_is_doubtful_is_a_warning() {
    assert_snapshot!(super::lines(&settings("").warnings), @"");
    let doubtful = |keys: &str| super::lines(&settings(&shop(keys)).warnings);
    assert_snapshot!(doubtful("max_backup_age = \"20h\"\n[[project.schedule]]\ncron = \"@daily\""), @"");
    assert_snapshot!(doubtful("max_backup_age = \"20h\"\ncontent = \"schema\"\n[[project.schedule]]\ncron = \"@daily\""), @"");
    let unnamed = shop("").replace("db/shop", "db");
    assert_snapshot!(super::lines(&settings(&unnamed).warnings), @"");
    // Twice a week each, a day and a half apart together; and the plain case. Nothing to warn of.
    let weekdays = "max_backup_age = \"4 days\"\n[[project.schedule]]\nname = \"a\"\ncron = \"0 2 * * mon\"\n[[project.schedule]]\nname = \"b\"\ncron = \"0 2 * * thu\"";
    assert_eq!(doubtful(weekdays), "");
    assert_eq!(doubtful("max_backup_age = \"26h\"\n[[project.schedule]]\ncron = \"15 2 * * *\""), "");
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
    assert_snapshot!(super::lines(&problems), @"");
    assert!(parse(HEAD, "pgdumpd.toml", &nothing).is_ok());
}

#[test]
fn a_problem_is_json_too() {
    let problems = parse(&shop("retension = {}"), "pgdumpd.toml", &nothing).expect_err("a typo");
    assert_snapshot!(serde_json::to_string(&problems).unwrap(), @"");
}
