//! The gate by tables: what counts as a fall, what doesn't, and what ends it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;
use crate::model::backup::{BackupRow, ProofLevel, RunId, Trigger};
use crate::model::dump::Selection;

pub(super) const RULE: Rule = Rule { rows_below: 50, size_below: 50, tables: true, after: 3, after_span: DAY };

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn figures(rows: u64) -> Figures {
    Figures { rows: Some(rows), bytes: Some(rows * 100) }
}

pub(super) fn past(standing: Standing, rows: u64) -> Past {
    Past { figures: figures(rows), standing }
}

fn normal(rows: &[u64]) -> Vec<Past> {
    rows.iter().map(|rows| past(Standing::Normal, *rows)).collect()
}

fn falls(past: &[Past], new: Figures) -> bool {
    let habit = Habit::of(&RULE, Content::Full, past);
    habit.is_known && !fall(&RULE, Content::Full, habit.figures(past), new).is_none()
}

#[test]
fn far_fewer_rows_are_suspicious_and_little_is_not() {
    let usual = normal(&[10_000, 10_000, 10_000]);
    for (rows, expected) in [(0, true), (4999, true), (5000, false), (9000, false), (1_000_000, false)] {
        assert_eq!(falls(&usual, figures(rows)), expected, "{rows} rows");
    }
    assert!(falls(&normal(&[10_000]), figures(0)), "where the retention keeps one, it is that one that would go");
}

#[test]
fn a_small_database_does_not_cry_wolf() {
    assert!(!falls(&normal(&[1200, 1200, 1200]), figures(300)), "900 rows may come and go");
    assert!(falls(&normal(&[1200, 1200, 1200]), figures(0)), "but not all of them");
    assert!(!falls(&normal(&[60, 60, 60]), figures(0)), "unless there were hardly any");
    assert!(!falls(&[], figures(0)));
}

#[test]
fn the_size_tells_where_rows_were_not_counted() {
    let of = |bytes: u64| Figures { rows: None, bytes: Some(bytes) };
    let rule = |content, from, to| !fall(&RULE, content, of(from), of(to)).is_none();
    assert!(rule(Content::Full, 10 << 20, 4 << 20));
    assert!(!rule(Content::Full, 300 << 10, 100 << 10), "a few kilobytes of log");
    assert!(rule(Content::Schema, 40 << 10, 12 << 10), "a dropped schema");
    assert!(!rule(Content::Globals, 3 << 10, 1 << 10));
    assert!(fall(&RULE, Content::Full, of(10 << 20), Figures { rows: None, bytes: None }).is_none(), "nothing to compare");
}

#[test]
fn each_rule_has_an_off_switch() {
    let usual = figures(1_000_000);
    let off = Rule { rows_below: 0, size_below: 0, ..RULE };
    assert!(fall(&off, Content::Full, usual, figures(0)).is_none());
    let rows = fall(&Rule { size_below: 0, ..RULE }, Content::Full, usual, figures(0));
    assert_eq!((rows.rows, rows.bytes), (Some((1_000_000, 0)), None));
}

#[test]
fn one_odd_night_does_not_move_the_habit() {
    let usual = normal(&[10_000, 1_000_000, 10_000, 10_000]);
    assert!(!falls(&usual, figures(9000)), "a bulk load that was taken back");
    let dip = normal(&[6000, 10_000, 10_000, 10_000]);
    assert!(falls(&dip, figures(4000)));
}

#[test]
fn suspicious_ones_are_no_habit_and_accepted_ones_begin_a_new_one() {
    let mut history = vec![past(Standing::Suspicious, 10), past(Standing::Suspicious, 10)];
    history.extend(normal(&[10_000; 9]));
    let habit = Habit::of(&RULE, Content::Full, &history);
    assert_eq!((habit.doubted.as_slice(), habit.members.len(), habit.members[0]), (&[0, 1][..], MEMBERS, 2));
    assert!(falls(&history, figures(10)));
    history[1].standing = Standing::Accepted;
    history[0].standing = Standing::Normal;
    let habit = Habit::of(&RULE, Content::Full, &history);
    assert_eq!((habit.members, habit.is_known), (vec![0, 1], true));
    assert!(!falls(&history, figures(10)));
    // What grows back is the habit again from then on.
    history.splice(0..0, normal(&[10_000, 10_000, 10_000]));
    assert!(falls(&history, figures(10)));
}

#[test]
fn so_many_alike_in_a_row_are_the_new_habit() {
    let mut history = vec![past(Standing::Suspicious, 2000), past(Standing::Suspicious, 2100)];
    history.extend(normal(&[10_000; 4]));
    let habit = Habit::of(&RULE, Content::Full, &history);
    let row = |rows| alike(&RULE, Content::Full, &history, &habit, figures(rows));
    assert_eq!((row(2050), row(0), row(4900)), (2, 0, 0), "one that fell further, or grew, is not of their kind");
    assert!(is_new_habit(&RULE, 2, DAY) && !is_new_habit(&RULE, 1, DAY * 9));
    assert!(!is_new_habit(&RULE, 9, Duration::from_secs(86_399)), "not within a night");
    assert!(is_new_habit(&Rule { after_span: Duration::ZERO, ..RULE }, 2, Duration::ZERO), "by number alone");
    let mut mixed = vec![past(Standing::Suspicious, 2000), past(Standing::Suspicious, 0), past(Standing::Suspicious, 2000)];
    mixed.extend(normal(&[10_000; 4]));
    assert_eq!(alike(&RULE, Content::Full, &mixed, &Habit::of(&RULE, Content::Full, &mixed), figures(2000)), 1);
}

fn of(tables: &[(&str, &str, u64)]) -> Vec<Counted> {
    tables.iter().map(|(schema, name, rows)| ((*schema).to_owned(), (*name).to_owned(), *rows)).collect()
}

/// The tables that are told, given the new ones and those of the backups before, newest first.
fn lost(new: &[(&str, &str, u64)], before: &[&[(&str, &str, u64)]]) -> Vec<String> {
    let new: Vec<Known<'_>> = new.iter().map(|(schema, name, rows)| Known { schema, name, rows: *rows }).collect();
    let falls = missing(&new, &mut |place| Ok(before.get(place).map(|tables| of(tables)))).unwrap();
    falls.into_iter().map(|fall| format!("{} {} {:?}", fall.table, fall.from, fall.to)).collect()
}

#[test]
fn a_table_that_always_had_rows_and_is_empty_is_told() {
    let usual: &[(&str, &str, u64)] = &[("public", "orders", 5000), ("public", "big", 1_000_000)];
    let new = [("public", "orders", 0), ("public", "big", 1_000_000)];
    assert_eq!(lost(&new, &[usual, usual, usual]), ["public.orders 5000 Some(0)"]);
    assert_eq!(lost(&[("public", "orders", 1), ("public", "big", 1)], &[usual]), [""; 0], "the sum of rows tells of these");
    let staging: &[(&str, &str, u64)] = &[("public", "orders", 0), ("public", "big", 1_000_000)];
    assert_eq!(lost(&new, &[usual, staging, usual]), [""; 0], "it has been empty before");
    let young: &[(&str, &str, u64)] = &[("public", "big", 1_000_000)];
    assert_eq!(lost(&new, &[usual, usual, young, young]), [""; 0], "it came two backups ago");
    assert_eq!(lost(&new, &[usual, usual, usual, young]).len(), 1, "it has been there for long enough");
    let small: &[(&str, &str, u64)] = &[("public", "orders", 900), ("public", "big", 1_000_000)];
    assert_eq!(lost(&new, &[small, small]), [""; 0]);
}

#[test]
fn tables_that_are_gone_are_told_unless_rotated_renamed_or_few() {
    let usual: &[(&str, &str, u64)] = &[("app", "a", 4000), ("app", "b", 5000), ("public", "big", 20_000)];
    assert_eq!(lost(&[("public", "big", 20_000)], &[usual, usual]), ["app.b 5000 None", "app.a 4000 None"], "a dropped schema");
    assert_eq!(lost(&[("new", "a", 4000), ("new", "b", 5000), ("public", "big", 20_000)], &[usual]), [""; 0], "a renamed one");
    let huge: &[(&str, &str, u64)] = &[("app", "old", 4000), ("public", "big", 1_000_000)];
    assert_eq!(lost(&[("public", "big", 1_000_000)], &[huge]), [""; 0], "a clean-up");
    let months: &[(&str, &str, u64)] = &[("public", "log_2026_09", 9000), ("public", "log_2026_10", 9000)];
    let next = [("public", "log_2026_10", 9000), ("public", "log_2026_11", 100)];
    assert_eq!(lost(&next, &[months]), [""; 0], "a rotated partition");
    assert_eq!(lost(&[("public", "log_2026_10", 0)], &[months]).len(), 2, "but not all of them");
}

#[test]
fn the_sentence_names_both_figures_and_the_worst_tables() {
    let before = of(&[("public", "orders", 5000), ("public", "bad\nname", 900), ("public", "same", 7)]);
    let new = [Known { schema: "public", name: "orders", rows: 3 }, Known { schema: "public", name: "same", rows: 7 }];
    let worst = worst(&before, &new, 3);
    let mut one = fall(&RULE, Content::Full, figures(5907), figures(10));
    one.bytes = None;
    assert_eq!(
        one.words(&worst),
        "rows fell from the usual 5907 to 10, most of all in public.orders (5000 to 3), public.bad?name (900 to gone)"
    );
    one.rows = None;
    one.tables =
        vec![TableFall { table: "public.a".into(), from: 5000, to: Some(0) }, TableFall { table: "public.b".into(), from: 2000, to: None }];
    assert_eq!(one.words(&worst), "table public.a, which always had rows (last 5000), is empty; table public.b with 2000 rows is gone");
}

fn row(number: i64, suspicious: bool) -> BackupRow {
    let at: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000 + number * 3600, 0).unwrap();
    BackupRow {
        id: RunId(format!("id{number}")),
        storage: "main".into(),
        project: "shop".into(),
        database: "shop".into(),
        content: Content::Full,
        selection: Selection::full(),
        trigger: Trigger::Scheduled,
        schedule: None,
        slot: None,
        started_at: at,
        finished_at: at,
        file: format!("{number}.dump"),
        size: 1,
        uncompressed_size: 1,
        sha256: String::new(),
        tables: 1,
        rows: Some(1),
        pinned: false,
        proof: ProofLevel::Whole,
        proven_at: at,
        damaged: None,
        suspicious: suspicious.then(|| format!("why {number}")),
        checked_at: None,
        restored_at: None,
        restore_ms: None,
        makes_database: false,
        system_identifier: None,
        server: None,
    }
}

#[test]
fn pruning_is_suspended_while_the_newest_is_suspicious() {
    let rows = [row(1, false), row(2, true), row(3, true)];
    let found = suspension(&rows);
    assert_eq!((found.len(), found[0].backup.as_str(), found[0].since, found[0].why.as_str()), (1, "id3", rows[1].started_at, "why 3"));
    assert_eq!(suspension(&[row(1, false), row(2, true), row(3, false)]), []);
    let damaged = BackupRow { damaged: Some("cut".into()), ..row(4, false) };
    assert_eq!(suspension(&[row(3, true), damaged]).len(), 1, "a damaged one ends nothing");
    let typed = BackupRow { trigger: Trigger::AdHoc, ..row(4, false) };
    assert_eq!(suspension(&[row(3, true), typed]).len(), 1);
    let other = BackupRow { database: "billing".into(), ..row(4, false) };
    assert_eq!(suspension(&[row(3, true), other]).len(), 1, "another database's is no answer");
}

/// Found at random by `a_row_of_alike_ones_ends_by_itself`: four that were accepted one by one outnumbered the new row.
#[test]
fn what_was_accepted_last_outweighs_what_was_accepted_before() {
    let mut history = vec![past(Standing::Normal, 0), past(Standing::Accepted, 0), past(Standing::Accepted, 0)];
    history.extend([past(Standing::Accepted, 10_000); 4]);
    assert_eq!(Habit::of(&RULE, Content::Full, &history).members, [0, 1, 2]);
    assert!(!falls(&history, figures(0)), "three alike in a row are the new habit");
}
