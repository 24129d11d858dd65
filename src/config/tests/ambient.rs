//! A configuration from variables alone: what each becomes, and every refusal in its words.

mod proving;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::ambient::{Variables, apply, load};
use crate::config::{Settings, USUAL_FILE, strictly};
use crate::model::dump::Compression;
use crate::model::project::{Databases, PasswordSource, Target};
use crate::schedule::Timing;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    load(&variables(pairs)).unwrap_or_else(|problems| panic!("refused:\n{}", super::lines(&problems)))
}

fn told(pairs: &[(&str, &str)]) -> String {
    match load(&variables(pairs)).and_then(strictly) {
        Ok(_) => String::from("accepted"),
        Err(problems) => super::lines(&problems),
    }
}

/// A host and a database, and more.
fn beside(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = [("POSTGRES_HOST", "db"), ("POSTGRES_DB", "shop"), ("POSTGRES_USER", "backup")];
    pairs.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn told_beside(more: &[(&str, &str)]) -> String {
    let pairs = beside(more);
    told(&pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

fn settings_beside(more: &[(&str, &str)]) -> Settings {
    let pairs = beside(more);
    settings(&pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

#[test]
fn popular_images_variables_mean_what_they_mean_there() {
    let settings = settings(&[
        ("POSTGRES_HOST", "db"),
        ("POSTGRES_PORT", "5433"),
        ("POSTGRES_DB", "shop,billing audit"),
        ("POSTGRES_USER", "backup"),
        ("POSTGRES_PASSWORD", "secret"),
        ("POSTGRES_EXTRA_OPTS", "--no-comments --no-owner"),
        ("SCHEDULE", "@every 6h"),
        ("BACKUP_KEEP_DAYS", "7"),
        ("BACKUP_KEEP_WEEKS", "4"),
        ("BACKUP_KEEP_MONTHS", "6"),
        ("BACKUP_KEEP_MINS", "1440"),
        ("BACKUP_DIR", "/backups"),
        ("TZ", "Europe/Berlin"),
    ]);
    let project = &settings.projects[0];
    let words = [("host", "db"), ("port", "5433"), ("user", "backup")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(project.connection.target, Target::Keywords(words.into()));
    assert!(matches!(&project.connection.password, PasswordSource::Env(name) if name == "POSTGRES_PASSWORD"));
    assert_eq!(project.databases, Databases::Named(["shop", "billing", "audit"].map(String::from).into()));
    assert_eq!(project.shape.options, ["--no-comments", "--no-owner"]);
    assert_eq!(project.schedules[0].timing, Timing::Every(Duration::from_secs(6 * 3600)));
    let kept = &project.retention;
    assert_eq!((kept.keep_daily, kept.keep_weekly, kept.keep_monthly), (Some(7), Some(4), Some(6)));
    assert_eq!(kept.keep_within, Some(Duration::from_secs(86_400)));
    assert_eq!(settings.daemon.time_zone, chrono_tz::Europe::Berlin);
    assert!(format!("{:?}", settings.storages["main"]).contains("\"/backups\""));
}

#[test]
fn the_services_variables_mean_what_they_say() {
    let settings = settings(&[
        ("DATABASE_URL", "postgresql://backup:p%40ss@db/shop?sslmode=require"),
        ("BACKUP_SCHEDULE_FULL", "15 2 * * *"),
        ("BACKUP_RETENTION_DAYS", "30"),
        ("BACKUP_COMPRESSION", "gzip:9"),
        ("BACKUP_NOTIFICATION_EMAIL", "oncall@example.org"),
        ("PGDUMPD_SMTP_HOST", "mail"),
        ("PGDUMPD_SMTP_FROM", "pgdumpd@example.org"),
        ("PGDUMPD_NAME", "shop"),
        ("PGDUMPD_GLOBALS", "TRUE"),
        ("PGDUMPD_LIMITS_RETRIES", "5s, 10s"),
        ("PGDUMPD_STORAGE_RESERVE", "1 MiB"),
        ("PGDUMPD_DAEMON_STATE_DIR", "/state"),
        ("BACKUP_ENCRYPT", "false"),
    ]);
    let project = &settings.projects[0];
    assert_eq!(project.connection.target, Target::Url(String::from("postgresql://backup@db/shop?sslmode=require")));
    assert!(matches!(project.connection.password, PasswordSource::Inline(_)));
    assert_eq!((project.name.as_str(), project.globals, project.shape.compression), ("shop", true, Compression::Gzip(9)));
    assert_eq!(project.retention.keep_within, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(project.limits.retries, [5, 10].map(Duration::from_secs));
    assert_eq!((settings.smtp.unwrap().to, settings.daemon.state_dir), (vec![String::from("oncall@example.org")], PathBuf::from("/state")));
}

#[test]
fn what_is_not_said_has_the_usual_values() {
    let settings = settings_beside(&[]);
    let project = &settings.projects[0];
    assert_eq!((project.name.as_str(), project.schedules.len()), ("main", 1));
    assert_eq!(project.max_backup_age, Some(Duration::from_secs(36 * 3600)), "daily, and half as long again");
    assert_eq!(settings_beside(&[("SCHEDULE", "15 min")]).projects[0].max_backup_age, Some(Duration::from_secs(135 * 60)));
    assert_eq!(settings_beside(&[("PGDUMPD_MAX_BACKUP_AGE", "none")]).projects[0].max_backup_age, None);
    // Where only a part is backed up, that part is what must not be too old.
    for part in [("PGDUMPD_SCHEMAS", "public"), ("PGDUMPD_TABLES", "orders"), ("PGDUMPD_CONTENT", "schema")] {
        for more in [None, Some(("PGDUMPD_MAX_BACKUP_AGE", "36h"))] {
            let partial = settings_beside(&[Some(part), more].into_iter().flatten().collect::<Vec<_>>());
            let (project, warnings) = (&partial.projects[0], &partial.warnings);
            assert_eq!((project.max_backup_age, warnings.len()), (Some(Duration::from_secs(36 * 3600)), 1), "{part:?}: {warnings:?}");
            assert_eq!(project.counted().into_iter().collect::<Vec<_>>(), [project.shape.selection()]);
        }
    }
    assert!(project.retention.keeps_all());
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
    assert!(settings.warnings[0].to_string().contains("set PGDUMPD_SMTP_HOST"), "{}", settings.warnings[0]);
}

#[test]
fn the_whole_server_and_its_roles() {
    // Popular images want a name beside it, which then says nothing.
    let warned = settings_beside(&[("POSTGRES_DB", "shop"), ("POSTGRES_CLUSTER", "TRUE")]);
    let told = warned.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("POSTGRES_DB: has no effect, as POSTGRES_CLUSTER says that every database is dumped"), "{told}");
    for none in ["none", "[]"] {
        assert!(settings_beside(&[("PGDUMPD_LIMITS_RETRIES", none)]).projects[0].limits.retries.is_empty());
    }
    let settings = settings_beside(&[("POSTGRES_CLUSTER", "TRUE")]);
    assert_eq!((settings.projects[0].databases.clone(), settings.projects[0].globals), (Databases::All { exclude: Vec::new() }, true));
    let all = settings_beside(&[("POSTGRES_CLUSTER", "false"), ("POSTGRES_DB", "all"), ("PGDUMPD_EXCLUDE_DATABASES", "tmp_*,old")]);
    assert_eq!(all.projects[0].databases, Databases::All { exclude: vec!["tmp_*".into(), "old".into()] });
    assert!(!all.projects[0].globals);
}

#[test]
fn a_file_may_hold_any_value() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (user, password, empty, url) =
        (put("user", "backup\n"), put("pw", "secret\n"), put("empty", ""), put("url", "postgresql://u:p@db/x\n"));
    let found =
        settings(&[("POSTGRES_HOST", "db"), ("POSTGRES_DB", "shop"), ("POSTGRES_USER_FILE", &user), ("POSTGRES_PASSWORD_FILE", &password)]);
    let Target::Keywords(words) = &found.projects[0].connection.target else { panic!() };
    assert_eq!(words["user"], "backup");
    assert!(matches!(&found.projects[0].connection.password, PasswordSource::Mounted(path) if path.ends_with("pw")));
    let found = settings(&[("DATABASE_URL_FILE", &url)]);
    assert_eq!(found.projects[0].connection.target, Target::Url(String::from("postgresql://u@db/x")));
    let list = put("list", "shop\nbilling\n");
    let found = settings(&[("POSTGRES_HOST", "db"), ("POSTGRES_DB_FILE", &list)]);
    assert_eq!(found.projects[0].databases, Databases::Named(vec!["shop".into(), "billing".into()]), "one on each line");
    let gone = folder.path().join("gone").display().to_string();
    let text = told_beside(&[
        ("POSTGRES_PASSWORD_FILE", &empty),
        ("SCHEDULE_FILE", &gone),
        ("BACKUP_KEEP_DAYS", "7"),
        ("BACKUP_KEEP_DAYS_FILE", &empty),
        ("BACKUP_DIR_FILE", "relative"),
    ]);
    insta::assert_snapshot!(text.replace(&folder.path().display().to_string(), "DIR"), @r#"
        environment: SCHEDULE_FILE: DIR/gone can't be read: No such file or directory (os error 2); mount the file, with the value as its first line
        environment: BACKUP_DIR_FILE: is not an absolute path
        environment: BACKUP_KEEP_DAYS: BACKUP_KEEP_DAYS_FILE is set too; unset one of them
        environment: POSTGRES_PASSWORD_FILE: the secret from DIR/empty is empty; its first line must hold the secret
        "#);
}

#[test]
fn every_contradiction_is_told_at_once() {
    let text = told(&[
        ("DATABASE_URL", "postgresql://backup@db/shop"),
        ("POSTGRES_HOST", "db"),
        ("PGUSER", "other"),
        ("POSTGRES_DB", "billing"),
        ("SCHEDULE", "@daily"),
        ("BACKUP_SCHEDULE_FULL", "@weekly"),
        ("POSTGRES_PASSWORD", "one"),
        ("PGPASSWORD", "two"),
        ("TZ", "Europe/Berlin"),
        ("PGDUMPD_DAEMON_TIME_ZONE", "UTC"),
    ]);
    insta::assert_snapshot!(text, @r#"
        environment: PGPASSWORD: says something else than POSTGRES_PASSWORD; unset one of them
        environment: BACKUP_SCHEDULE_FULL: says something else than SCHEDULE; unset one of them
        environment: TZ: says something else than PGDUMPD_DAEMON_TIME_ZONE; unset one of them
        environment: POSTGRES_HOST: DATABASE_URL says already how the server is reached; unset one of them
        environment: PGUSER: DATABASE_URL says already how the server is reached; unset one of them
        environment: POSTGRES_DB: doesn't hold the database that DATABASE_URL names; add it, or leave it out of the URL
        "#);
    assert_eq!(told_beside(&[("PGHOST", "db"), ("POSTGRES_PASSWORD", "same"), ("PGPASSWORD", "same")]), "accepted");
    assert_eq!(told_beside(&[("SCHEDULE", "@daily"), ("BACKUP_SCHEDULE_FULL", "@daily")]), "accepted");
}

#[test]
fn wrong_values_and_unknown_names_are_told_by_the_variable() {
    let text = told_beside(&[
        ("PGDUMPD_SHEDULE", "@daily"),
        ("BACKUP_KEEP_DAY", "7"),
        ("BACKUP_FREQUENCY", "often"),
        ("BACKUP_KEEP_WEEKS", "four"),
        ("BACKUP_RETENTION_DAYS", "a month"),
        ("POSTGRES_PORT", "543x"),
        ("SCHEDULE", "61 * * * *"),
        ("TZ", "Europe/Berln"),
        ("BACKUP_COMPRESSION", "lzma"),
        ("BACKUP_NOTIFICATION_EMAIL", "nobody"),
        ("PGDUMPD_GLOBALS", "maybe"),
        ("POSTGRES_EXTRA_OPTS", "--file=/etc/passwd"),
        ("BACKUP_ENCRYPT", "true"),
        ("BACKUP_SCHEDULE_INCREMENTAL", "0 * * * *"),
        ("PGDUMPD_STANDBY", "no\nthing"),
    ]);
    insta::assert_snapshot!(text, @r#"
        environment: BACKUP_ENCRYPT: backups can't be encrypted yet; unset it, and encrypt the disk that the backups lie on
        environment: BACKUP_FREQUENCY: unknown variable; docs/configuration.md lists them, under "Without a file"
        environment: BACKUP_KEEP_DAY: unknown variable; did you mean BACKUP_KEEP_DAYS?
        environment: BACKUP_SCHEDULE_INCREMENTAL: incremental backups can't be made yet; unset it; BACKUP_SCHEDULE_FULL may run as often
        environment: PGDUMPD_SHEDULE: unknown variable; did you mean PGDUMPD_SCHEDULE?
        environment: TZ: unknown time zone "Europe/Berln"; expected a time zone such as "Europe/Berlin"; did you mean Europe/Berlin?
        environment: BACKUP_NOTIFICATION_EMAIL: "nobody" is not a mail address; expected a mail address such as "oncall@example.org"
        environment: PGDUMPD_SMTP_HOST: is not set, but other variables for mail are
        environment: PGDUMPD_SMTP_FROM: is not set, but other variables for mail are
        environment: POSTGRES_PORT: the port is not a number from 1 to 65535
        environment: PGDUMPD_GLOBALS: wrong value; expected true or false
        environment: BACKUP_RETENTION_DAYS: `a month` is not a duration: write a number and a unit, such as `15 min` or `26h`
        environment: BACKUP_KEEP_WEEKS: wrong value; expected a whole number from 0 to 1000000
        environment: PGDUMPD_STANDBY: contains a control character; expected "as-is", "refuse" or { pause_replay = "1h" }
        environment: BACKUP_COMPRESSION: unknown compression lzma; expected "zstd", "gzip", "bzip2", each also with a level ("zstd:9"), "none" or "native"
        environment: POSTGRES_EXTRA_OPTS: the pg_dump option "--file=/etc/passwd" can't be used: pgdumpd itself stores what pg_dump writes
        environment: SCHEDULE: minute `61`: 61 is outside 0 to 59
        "#);
}

#[test]
fn what_a_file_would_say_otherwise_is_told_in_variables() {
    let mail = [("PGDUMPD_SMTP_HOST", "mail"), ("PGDUMPD_SMTP_FROM", "a@example.org"), ("PGDUMPD_SMTP_TO", "b@example.org")];
    let more = [("PGDUMPD_SMTP_PASSWORD", "secret"), ("PGDUMPD_EXCLUDE_DATABASES", "test*"), ("SCHEDULE", "@every_6h")];
    insta::assert_snapshot!(told_beside(&[&mail[..], &more].concat()), @r#"
        environment: smtp: a password without a username; set PGDUMPD_SMTP_USERNAME, or unset the password
        environment: SCHEDULE: `@every_6h` is no crontab line; write the interval alone, 6h, or @every 6h
        environment: PGDUMPD_EXCLUDE_DATABASES: has no effect without POSTGRES_DB=all
        "#);
    let doubts =
        |value: &str| settings_beside(&[("VALIDATE_ON_START", value)]).warnings.iter().any(|one| one.to_string().contains("VALIDATE"));
    assert_eq!(("TRUE", doubts("TRUE"), "FALSE", doubts("FALSE")), ("TRUE", false, "FALSE", true));
}

#[test]
fn nothing_said_is_nothing_guessed() {
    insta::assert_snapshot!(told(&[("BACKUP_DIR", "/backups")]), @r#"environment: POSTGRES_HOST: nothing says where the server is; set POSTGRES_HOST or DATABASE_URL"#);
    insta::assert_snapshot!(told(&[("BACKUP_DIR", "/backups"), ("POSTGRES_DB", "shop"), ("SCHEDULE", "nonsense")]), @r#"
        environment: POSTGRES_HOST: nothing says where the server is; set POSTGRES_HOST or DATABASE_URL
        environment: SCHEDULE: `nonsense` has 1 field: five are needed (minute hour day-of-month month day-of-week), or six with the seconds first
        "#);
}

#[test]
fn what_kubernetes_sets_is_nobodys_wish() {
    let noise = [
        ("POSTGRES_PORT", "tcp://10.0.0.7:5432"),
        ("POSTGRES_SERVICE_HOST", "10.0.0.7"),
        ("BACKUP_PORT", "tcp://10.0.0.8:80"),
        ("BACKUP_PORT_80_TCP", "tcp://10.0.0.8:80"),
        ("BACKUP_PORT_80_TCP_ADDR", "10.0.0.8"),
        ("BACKUP_SERVICE_HOST", "10.0.0.8"),
        ("BACKUP_SERVICE_PORT_HTTP", "80"),
        ("PGDUMPD_SERVICE_PORT", "80"),
        ("PGDUMPD_PORT", "tcp://10.0.0.9:80"),
    ];
    let Target::Keywords(words) = &settings_beside(&noise).projects[0].connection.target else { panic!() };
    assert_eq!(words.keys().collect::<Vec<_>>(), ["host", "user"]);
    assert!(!apply(Path::new(USUAL_FILE), &variables(&noise)), "a service of that name is no configuration");
}

#[test]
fn values_are_data() {
    let odd = "a\"b\\c]\u{1F418} = {";
    let settings = settings(&[("POSTGRES_HOST", "db"), ("POSTGRES_USER", odd), ("PGDATABASE", "my, shop"), ("PGDUMPD_DESCRIPTION", odd)]);
    let project = &settings.projects[0];
    let Target::Keywords(words) = &project.connection.target else { panic!() };
    assert_eq!((words["user"].as_str(), project.description.as_deref()), (odd, Some(odd)));
    assert_eq!(project.databases, Databases::Named(vec![String::from("my, shop")]));
}

#[test]
fn secrets_stay_out_of_messages() {
    let text = told(&[
        ("DATABASE_URL", "postgresql://backup:hush@db:port/shop"),
        ("POSTGRES_PASSWORD", "hush"),
        ("PGPASSWORD", "hush2"),
        ("PGDUMPD_SMTP_PASSWORD", "hush"),
    ]);
    assert!(!text.contains("hush"), "{text}");
    assert!(text.lines().count() >= 3, "{text}");
}

/// libpq would take the database that is called like the user, which on many servers is empty.
#[test]
fn a_server_without_a_database_is_refused() {
    let missing = "environment: POSTGRES_DB: no database is named; set POSTGRES_DB: one, several with commas between, or all";
    for said in [
        &[("POSTGRES_HOST", "db"), ("POSTGRES_USER", "postgres")][..],
        &[("DATABASE_URL", "postgresql://u@db")],
        &[("DATABASE_URL", "postgresql://u@db/?sslmode=require")],
        &[("DATABASE_URL", "host=db user=u")],
    ] {
        assert_eq!(told(said).trim(), missing, "{said:?}");
    }
    for said in [
        &[("POSTGRES_HOST", "db"), ("POSTGRES_DB", "all")][..],
        &[("DATABASE_URL", "postgresql://u@db"), ("POSTGRES_DB", "shop")],
        &[("PGSERVICE", "shop")],
        &[("POSTGRES_HOST", "db"), ("POSTGRES_CLUSTER", "true")],
    ] {
        settings(said);
    }
}

#[test]
fn variables_count_only_without_a_file() {
    let asked = variables(&[("POSTGRES_HOST", "db")]);
    assert!(!apply(Path::new("/some/other.toml"), &asked), "a file was named");
    let silent = variables(&[("TZ", "UTC"), ("PGPASSWORD", "x"), ("PATH", "/bin"), ("POSTGRES_HOST", "")]);
    assert!(!apply(Path::new(USUAL_FILE), &silent));
}

#[test]
fn the_packaged_examples_are_accepted() {
    let compose = include_str!("../../../packaging/compose.yaml").split("  pgdumpd:\n").nth(1).unwrap();
    let block = compose.split("    environment:\n").nth(1).unwrap().split("    volumes:\n").next().unwrap();
    let lines = block.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs: Vec<_> = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name, value.trim_matches('"'))).collect();
    assert!(pairs.len() > 10, "{pairs:?}");
    assert_eq!(settings(&pairs).warnings, []);
    let pods = include_str!("../../../packaging/kubernetes.yaml");
    for pod in pods.split("env:\n").skip(1) {
        let lines = pod.lines().map_while(|line| line.trim().strip_prefix("- {name: ")?.strip_suffix('}'));
        let pairs = lines.filter_map(|line| line.split_once(", value: ")).map(|(name, value)| {
            // The secret's file is there only in the cluster.
            if name == "POSTGRES_PASSWORD_FILE" { ("POSTGRES_PASSWORD", "secret") } else { (name, value.trim_matches('"')) }
        });
        let pairs: Vec<_> = pairs.collect();
        assert!(pairs.len() > 7, "{pairs:?}");
        assert_eq!(settings(&pairs).warnings.len(), 1, "only that there is no mail");
    }
}

#[test]
fn what_has_a_variable_of_its_own_is_refused_as_an_option_with_its_name() {
    let told = |options: &str| told_beside(&[("POSTGRES_EXTRA_OPTS", options)]);
    let both = told("-Z1 --schema=public --blobs");
    assert!(both.contains("set PGDUMPD_COMPRESSION") && both.contains("set PGDUMPD_SCHEMAS"), "{both}");
    assert!(told("-O").contains("write \"--no-owner\""), "{}", told("-O"));
    assert!(told("--if-exists").contains("add --clean"), "{}", told("--if-exists"));
    assert_eq!(told("--clean --if-exists --no-owner"), "accepted");
}

#[test]
fn an_interval_that_is_mistyped_is_told_as_a_variable_has_it() {
    for name in ["SCHEDULE", "PGDUMPD_SCHEDULE"] {
        let told = told_beside(&[(name, "@every_6h")]);
        assert!(told.contains("is no crontab line; write the interval alone, 6h, or @every 6h") && !told.contains("cron ="), "{told}");
    }
    let told = told_beside(&[("SCHEDULE", "*/90 * * * *")]);
    assert!(told.contains("for intervals write 6h, or @every 6h"), "{told}");
}

#[test]
fn libpqs_own_variable_is_looked_at() {
    let told = told_beside(&[("PGSSLMODE", "requires")]);
    assert!(told.contains("PGSSLMODE: unknown sslmode") && told.contains("did you mean require?"), "{told}");
    assert_eq!(told_beside(&[("PGSSLMODE", "verify-full")]), "accepted");
    assert_eq!(told_beside(&[("PGSSLMODE", "")]), "accepted");
}
