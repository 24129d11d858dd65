//! What befalls a catalog: other processes, deletion, garbage, a full disk, SIGKILL.

#![cfg(test)]

#[path = "support/skip.rs"]
mod skip;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use pgdumpd::catalog::{BackupFilter, Catalog, Page, Reader, SlotKey, Sort, Writer};
use pgdumpd::clock::Clock;
use pgdumpd::error::Cause;
use pgdumpd::model::backup::{BackupRow, ProofLevel, RunId, Trigger};
use pgdumpd::model::dump::{Content, Selection};
use pgdumpd::process::{self, Exit, Output, Spec};

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

fn open(folder: &Path) -> Catalog {
    Catalog::open(folder, &Clock::manual(noon())).unwrap()
}

fn note(catalog: &Catalog, key: &str) -> Option<String> {
    catalog.read(|tx| tx.meta(key)).unwrap()
}

fn keep(catalog: &Catalog, key: &str) {
    catalog.write(|tx| tx.put_meta(key, "kept")).unwrap();
}

fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("catalog.db.corrupt-") && !path.to_string_lossy().ends_with("-wal")).collect()
}

/// This program once more, to play a part in a process of its own.
fn other_process(part: &str, folder: &Path) -> Spec {
    let mut spec = Spec::new(std::env::current_exe().unwrap());
    spec.args = ["--exact", "part_played_in_another_process", "--nocapture", "--test-threads=1"].map(Into::into).to_vec();
    spec.env = vec![("PART".into(), part.into()), ("FOLDER".into(), folder.into())];
    spec.stdout = Output::Piped;
    spec
}

/// Does nothing by itself; see [`other_process`].
#[test]
fn part_played_in_another_process() {
    let Some(folder) = std::env::var_os("FOLDER").map(PathBuf::from) else { return };
    match std::env::var("PART").unwrap().as_str() {
        "claim" => {
            let catalog = open(&folder);
            let claimed = slots().chunks(50).flat_map(|some| catalog.write(|tx| tx.claim_slots(some)).unwrap()).filter(|won| *won).count();
            println!("claimed {claimed}");
        }
        "write" => {
            let catalog = open(&folder);
            for number in 0.. {
                keep(&catalog, &format!("note {number}"));
                println!("durable {number}");
                std::io::stdout().flush().unwrap();
            }
        }
        "fill" => fill_the_disk(&folder),
        other => panic!("no such part: {other}"),
    }
}

fn slots() -> Vec<SlotKey> {
    let slot = |number| SlotKey { project: format!("p{number}"), schedule: "nightly".into(), due_at: noon() + TimeDelta::seconds(number) };
    (0..1000).map(slot).collect()
}

/// The number after `word` in a child's output; its test harness prints other lines, too.
fn said(line: &str, word: &str) -> Option<usize> {
    line.split(word).nth(1)?.trim().parse().ok()
}

#[test]
fn four_processes_claim_each_slot_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let spec = other_process("claim", folder.path());
    let mut children: Vec<_> = (0..4).map(|_| process::spawn(&spec).unwrap()).collect();
    let claimed = children.iter_mut().map(|child| {
        let lines = BufReader::new(child.take_stdout().unwrap()).lines();
        let claimed = lines.map_while(Result::ok).filter_map(|line| said(&line, "claimed ")).last().expect("said nothing");
        assert_eq!(child.wait(), Exit::Code(0), "{}", child.stderr_tail());
        claimed
    });
    assert_eq!(claimed.sum::<usize>(), 1000);
    assert_eq!(open(folder.path()).read(Reader::unfinished_slots).unwrap().len(), 1000);
}

#[test]
fn what_was_committed_survives_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = process::spawn(&other_process("write", folder.path())).unwrap();
    let mut lines = BufReader::new(child.take_stdout().unwrap()).lines().map_while(Result::ok);
    let mut last = lines.find_map(|line| said(&line, "durable ").filter(|number| *number >= 20)).unwrap();
    assert_eq!(child.kill(), Exit::Signal(9));
    last = lines.filter_map(|line| said(&line, "durable ")).last().unwrap_or(last);
    let catalog = open(folder.path());
    for number in 0..=last {
        assert!(note(&catalog, &format!("note {number}")).is_some(), "note {number} of {last} is lost");
    }
    assert!(set_aside(folder.path()).is_empty());
}

#[test]
fn f34_a_catalog_deleted_while_open_is_made_anew_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    assert!(one.needs_reindex().unwrap().unwrap().starts_with("there was no catalog at "));
    one.write(Writer::reindexed).unwrap();
    assert_eq!(two.needs_reindex().unwrap(), None);
    keep(&one, "before");
    assert!(note(&two, "before").is_some());

    std::fs::remove_file(one.path().unwrap()).unwrap();
    keep(&one, "after");
    assert!(one.needs_reindex().unwrap().unwrap().contains("deleted or replaced while it was in use"));
    assert_eq!(note(&one, "before"), None);
    assert!(note(&two, "after").is_some(), "the other handle still writes into the deleted file");
    keep(&two, "both");
    assert!(note(&one, "both").is_some() && note(&open(folder.path()), "both").is_some());
}

#[test]
fn a_catalog_put_in_place_of_an_open_one_is_taken_up() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    keep(&open(other.path()), "theirs");
    let catalog = open(folder.path());
    keep(&catalog, "ours");
    rustix::fs::rename(other.path().join("catalog.db"), catalog.path().unwrap()).unwrap();
    assert!(note(&catalog, "theirs").is_some());
    assert_eq!(note(&catalog, "ours"), None, "the old log was played into the new file");
}

#[test]
fn f34_garbage_in_place_of_a_catalog_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = b"this is no database at all. ".repeat(500);
    std::fs::write(folder.path().join("catalog.db"), &garbage).unwrap();
    let catalog = open(folder.path());
    let because = catalog.needs_reindex().unwrap().unwrap();
    assert!(because.contains("was damaged") && because.contains("catalog.db.corrupt-2026"), "{because}");
    let aside = set_aside(folder.path());
    assert_eq!((aside.len(), std::fs::read(&aside[0]).unwrap()), (1, garbage));
    keep(&catalog, "again");
}

#[test]
fn f34_damage_behind_a_good_header_is_noticed_when_it_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(folder.path());
    catalog.write(|tx| (0..2000).try_for_each(|number| tx.put_meta(&format!("key {number}"), &"x".repeat(50)))).unwrap();
    let path = catalog.path().unwrap().to_owned();
    drop(catalog);
    let mut bytes = std::fs::read(&path).unwrap();
    let (schema, rest) = bytes.split_at_mut(32 * 4096);
    assert!(schema.starts_with(b"SQLite format 3"));
    rest.fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();

    let catalog = open(folder.path());
    for number in 0..2000 {
        catalog.read(|tx| tx.meta(&format!("key {number}"))).unwrap();
    }
    keep(&catalog, "again");
    assert!(catalog.needs_reindex().unwrap().unwrap().contains("malformed"));
    assert_eq!(set_aside(folder.path()).len(), 1);
}

#[test]
fn a_catalog_of_another_program_or_of_the_future_is_refused_and_left_alone() {
    for (sql, word) in [("CREATE TABLE theirs (x)", "another program"), ("PRAGMA user_version = 99", "later pgdumpd")] {
        let folder = tempfile::tempdir().unwrap();
        if word == "later pgdumpd" {
            drop(open(folder.path()));
        }
        let path = folder.path().join("catalog.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let failure = Catalog::open(folder.path(), &Clock::system()).unwrap_err();
        assert_eq!(failure.cause, Cause::Catalog);
        assert!(failure.message.contains(word) && failure.hint.is_some(), "{failure:?}");
        assert!(path.exists() && set_aside(folder.path()).is_empty());
    }
}

#[test]
fn nobody_else_can_read_it_and_no_link_is_followed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state/pgdumpd");
    let catalog = open(&folder);
    keep(&catalog, "secret");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.lock"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(catalog.path().unwrap(), elsewhere.path().join("catalog.db")).unwrap();
    assert_eq!(Catalog::open(elsewhere.path(), &Clock::system()).unwrap_err().cause, Cause::UnsafePath);
}

#[test]
fn f15_a_full_disk_is_told_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let part = other_process("fill", folder.path());
    let mut spec = Spec::new("/usr/bin/unshare");
    let mount = format!("mount -t tmpfs -o size=2m,mode=700 tmpfs '{}' && exec \"$@\"", folder.path().display());
    spec.args = ["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c"].map(Into::into).to_vec();
    spec.args.extend([mount.into(), "sh".into(), part.program.into_os_string()]);
    spec.args.extend(part.args);
    spec.env = part.env;
    spec.env.push(("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into()));
    let finished = process::run(&spec, b"", Duration::from_secs(60), 1 << 20).unwrap();
    if finished.stderr.starts_with("unshare:") || finished.stderr.starts_with("mount:") {
        return skip::skip("f15_a_full_disk_is_told_and_harms_nothing", &format!("no private mount here: {}", finished.stderr));
    }
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.exit.is_success() && said.contains("all kept"), "{said}{}", finished.stderr);
}

fn fill_the_disk(folder: &Path) {
    let catalog = open(folder);
    std::fs::write(folder.join("ballast"), vec![0; 1 << 20]).unwrap();
    let mut kept = 0;
    let failure = loop {
        let outcome = catalog.write(|tx| tx.put_meta(&format!("key {kept}"), &"x".repeat(3000)).and_then(|()| tx.put_meta("last", "one")));
        match outcome {
            Ok(()) => kept += 1,
            Err(failure) => break failure,
        }
        assert!(kept < 10_000, "the disk never filled");
    };
    assert_eq!(failure.cause, Cause::Space, "{failure}");
    assert!(failure.hint.is_some());
    assert_eq!(catalog.read(|tx| tx.meta("key 0")).unwrap().map(|text| text.len()), Some(3000), "not even readable");
    std::fs::remove_file(folder.join("ballast")).unwrap();
    keep(&catalog, "with space again");
    assert!((0..kept).all(|number| note(&catalog, &format!("key {number}")).is_some()));
    assert_eq!(note(&catalog, &format!("key {kept}")), None, "the failed transaction left something");
    drop(catalog);
    let checked: String =
        rusqlite::Connection::open(folder.join("catalog.db")).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!((checked.as_str(), set_aside(folder).len()), ("ok", 0));
    println!("all kept: {kept}");
}

fn backup(number: i64) -> BackupRow {
    let started_at = noon() + TimeDelta::seconds(number * 60);
    BackupRow {
        id: RunId(format!("{:010x}", number.wrapping_mul(0x9e37_79b9) & 0xff_ffff_ffff)),
        storage: "main".into(),
        project: format!("project-{}", number % 100),
        database: "shop".into(),
        content: if number % 24 == 0 { Content::Full } else { Content::Schema },
        selection: if number % 24 == 0 { Selection::full() } else { Selection("schema".into()) },
        trigger: Trigger::Scheduled,
        schedule: Some("nightly".into()),
        slot: Some(started_at),
        started_at,
        finished_at: started_at,
        file: format!("shop_{number}.dump.zst"),
        size: number.unsigned_abs() * 7919 % 1_000_003,
        uncompressed_size: 1 << 20,
        sha256: "ab".repeat(32),
        tables: 40,
        rows: Some(1_000_000),
        pinned: false,
        proof: ProofLevel::Whole,
        proven_at: started_at,
        damaged: None,
        suspicious: None,
        checked_at: None,
        restored_at: None,
        restore_ms: None,
        makes_database: false,
        system_identifier: None,
        server: None,
    }
}

/// Prints how long the usual questions take. `PGDUMPD_BENCH_ROWS=1000000` makes it the size that the design promises.
#[test]
fn questions_to_a_large_catalog_are_timed() {
    let rows = std::env::var("PGDUMPD_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(5_000);
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(folder.path());
    let timed = |what: &str, work: &dyn Fn() -> usize| {
        let begun = Instant::now();
        let count = work();
        println!("{what}: {count} rows in {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
        count
    };
    timed("indexing", &|| {
        let all: Vec<BackupRow> = (0..rows).map(backup).collect();
        catalog.write(|tx| tx.replace_storage("main", &all)).map(|()| all.len()).unwrap()
    });
    let page = |filter: BackupFilter, sort| catalog.read(|tx| tx.backups(&filter, sort, Page::first(50))).unwrap().len();
    let project = || BackupFilter { project: Some("project-7".into()), ..BackupFilter::default() };
    let full = || BackupFilter { content: Some(Content::Full), ..BackupFilter::default() };
    assert_eq!(timed("first page by date, just after indexing", &|| page(BackupFilter::default(), Sort::Date)), 50);
    assert_eq!(timed("first page by date", &|| page(BackupFilter::default(), Sort::Date)), 50);
    assert_eq!(timed("first page by size", &|| page(BackupFilter::default(), Sort::Size)), 50);
    assert_eq!(timed("first page of a project by size", &|| page(project(), Sort::Size)), 50);
    assert_eq!(timed("first page of full ones by size", &|| page(full(), Sort::Size)), 50);
    timed("first page of a project's full ones", &|| page(BackupFilter { content: Some(Content::Full), ..project() }, Sort::Date));
    timed("one project whole", &|| catalog.read(|tx| tx.project_backups("project-7")).unwrap().len());
    timed("count", &|| catalog.read(|tx| tx.count_backups(&BackupFilter::default())).unwrap() as usize);
    timed("totals", &|| catalog.read(Reader::totals).unwrap().len());
    timed("newest good full ones", &|| catalog.read(|reader| reader.last_good_full(None)).unwrap().len());
    timed("by prefix", &|| catalog.read(|tx| tx.backups_by_prefix("00", 5)).unwrap().len());
    timed("every project whole", &|| {
        (0..100).map(|number| catalog.read(|tx| tx.project_backups(&format!("project-{number}"))).unwrap().len()).sum()
    });
    let again = timed("first page by date, opened anew", &|| {
        let opened = open(folder.path());
        opened.read(|tx| tx.backups(&BackupFilter::default(), Sort::Date, Page::first(50))).unwrap().len()
    });
    assert_eq!(again, 50);
    timed("claiming", &|| catalog.write(|tx| tx.claim_slots(&slots())).unwrap().len());
}
