//! Keys that are equal and written differently: one row, by every rule, as PostgreSQL's own `ON CONFLICT` has it.

use pgdumpd::ops::merge::{Request, Rule};

use crate::rules::{Place, counts, request};

/// A table each for what makes two values equal, the rows that are there, and those of the backup: the first is equal in all but its key's
/// letters, the second differs, the third is new.
const EQUAL: [(&str, &str, &str, &str); 6] = [
    ("letters", "k citext primary key, v text", "('Anna', 'x'), ('Bert', 'y')", "anna\tx\nBERT\tz\ncleo\tn\n"),
    ("digits", "k numeric primary key, v text", "(1.0, 'x'), (2.00, 'y')", "1.000\tx\n2\tz\n3\tn\n"),
    ("padded", "k char(5) primary key, v text", "('a', 'x'), ('b  ', 'y')", "a    \tx\nb\tz\nc\tn\n"),
    ("folded", "k text collate folded primary key, v text", "('Anna', 'x'), ('Bert', 'y')", "anna\tx\nBERT\tz\ncleo\tn\n"),
    ("by_index", "k text, v text", "('Anna', 'x'), ('Bert', 'y')", "anna\tx\nBERT\tz\ncleo\tn\n"),
    ("span", "k interval primary key, v text", "('1 day', 'x'), ('2 days', 'y')", "24:00:00\tx\n48:00:00\tz\n3 days\tn\n"),
];

fn place() -> Place {
    let place =
        Place::new("create extension citext; create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
    for (name, columns, rows, _) in EQUAL {
        for table in [name.to_owned(), format!("{name}_theirs")] {
            place.ask(&format!("create table {table} ({columns}); insert into {table} values {rows}"));
            if name == "by_index" {
                place.ask(&format!("create unique index on {table} (k collate folded)"));
            }
        }
    }
    place
}

fn all(place: &Place, table: &str) -> String {
    place.ask(&format!("select string_agg(k::text || '=' || v, ',' order by v) from {table}"))
}

#[test]
fn a_key_that_is_written_otherwise_is_the_same_key_and_stays_as_the_table_has_it() {
    let place = place();
    for (table, _, _, rows) in EQUAL {
        let of = |rule| Request { key: vec!["k".into()], ..request(table, &["k", "v"], rule) };
        let told = place.refused(&of(Rule::Error), rows);
        assert!(told.contains("2 of the backup's rows are in"), "{table}: {told}");
        let merged = place.merge(&of(Rule::Update), rows).expect(table);
        assert_eq!((counts(&merged), merged.unchanged), ((3, 1, 1, 1), 1), "{table}");
        // What the server itself makes of them, with all columns but the key.
        let values: Vec<String> = rows
            .lines()
            .map(|line| {
                let (key, value) = line.split_once('\t').unwrap();
                format!("('{key}', '{value}')")
            })
            .collect();
        let index = if table == "by_index" { "k collate folded" } else { "k" };
        place.ask(&format!("insert into {table}_theirs values {} on conflict ({index}) do update set v = excluded.v", values.join(", ")));
        assert_eq!(all(&place, table), all(&place, &format!("{table}_theirs")), "{table}");
        let merged = place.merge(&of(Rule::Skip), rows).expect(table);
        assert_eq!(counts(&merged), (3, 0, 0, 3), "{table}");
        let twice = rows.lines().take(1).fold(rows.to_owned(), |rows, line| rows + line + "\n");
        assert!(place.refused(&of(Rule::Skip), &twice).contains("the same key more than once"), "{table}");
    }
    let twice = "dora\tx\nDORA\ty\n";
    for table in ["letters", "folded", "by_index"] {
        let of = Request { key: vec!["k".into()], ..request(table, &["k", "v"], Rule::Update) };
        let told = place.refused(&of, twice);
        assert!(told.contains("the same key more than once in") && told.contains("k=DORA"), "{table}: {told}");
    }
}
