//! Which table a restore is at, for who watches it: told by the place in the archive, by a script's own statements as they pass, or by the
//! words of a tool that reads it by itself.

use std::collections::BTreeSet;

use crate::model::backup::TableEntry;
use crate::stream::gauge::Gauge;

/// The tables whose rows are restored.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    /// In the archive's order: where the rows begin, as far as that is known, how many bytes they are, and the name.
    all: Vec<(Option<u64>, u64, String)>,
    begun: u64,
    /// Bytes of the tables that are finished, and of the one that a single connection is at.
    bytes: u64,
    current: u64,
    /// Whether several connections restore, and which tables are finished then, by their places.
    several: bool,
    done: BTreeSet<usize>,
}

impl Tables {
    pub(super) fn new(tables: &[&TableEntry]) -> Self {
        let all = tables.iter().map(|table| (table.offset, table.bytes, name(table))).collect();
        Self { all, begun: 0, bytes: 0, current: 0, several: false, done: BTreeSet::new() }
    }

    /// Whether they are restored over several connections: each counts in full only when the tool says that it is finished.
    pub(super) fn side_by_side(self, several: bool) -> Self {
        Self { several, ..self }
    }

    /// So far has the archive been handed on.
    pub(super) fn passed(&self, gauge: &Gauge) {
        let place = gauge.snapshot().archive_bytes;
        let behind = |(offset, ..): &(Option<u64>, u64, String)| offset.is_some_and(|offset| offset < place);
        let number = self.all.partition_point(behind);
        if let Some((.., name)) = number.checked_sub(1).and_then(|at| self.all.get(at)) {
            gauge.table(number as u64, self.all.len() as u64, name);
        }
    }

    /// A script has come to this table, its `number`th.
    pub(super) fn seen(&self, number: usize, table: &TableEntry, gauge: &Gauge) {
        gauge.table(number as u64, self.all.len().max(number) as u64, &name(table));
    }

    /// A tool said this. With one connection those before it are restored; with several the tool says of each when it is.
    pub(super) fn said(&mut self, line: &str, gauge: &Gauge) {
        if let Some((_, tag)) = line.strip_prefix("pg_restore: finished item ").and_then(|rest| rest.split_once(" TABLE DATA ")) {
            self.finished(tag, gauge);
            return;
        }
        let Some(name) = line.strip_prefix("pg_restore: processing data for table \"").and_then(|rest| rest.strip_suffix('"')) else {
            return;
        };
        let name = name.strip_prefix("public.").unwrap_or(name);
        self.begun += 1;
        if self.several {
            gauge.table(self.begun, (self.all.len() as u64).max(self.begun), name);
            return;
        }
        self.bytes += self.current;
        self.current = self.all.iter().find(|(.., known)| known == name).map_or(0, |(_, bytes, _)| *bytes);
        gauge.show(self.shown(0, gauge));
        gauge.table(self.begun, (self.all.len() as u64).max(self.begun), name);
    }

    /// Of tables with the same name in several schemas any will do: all of them come.
    fn finished(&mut self, tag: &str, gauge: &Gauge) {
        let is = |known: &str| known == tag || known.strip_suffix(tag).is_some_and(|schema| schema.ends_with('.'));
        let found = self.all.iter().enumerate().find(|(at, (.., known))| !self.done.contains(at) && is(known));
        let Some((at, (_, bytes, _))) = found else { return };
        self.bytes += bytes;
        self.done.insert(at);
        if self.done.len() == self.all.len() {
            gauge.begin("making the indexes and constraints of");
        } else {
            gauge.show(self.shown(0, gauge));
        }
    }

    /// How many bytes the finished ones are. To be asked before the server is, so that none counts both as finished and as under way.
    pub(super) fn finished_bytes(&self) -> u64 {
        self.bytes
    }

    /// The server has taken so many bytes in all: of tables that were `finished` before it was asked, and of those it is at.
    pub(super) fn under_way(&self, finished: u64, copied: u64, gauge: &Gauge) {
        let rows_are_there = self.several && self.done.len() == self.all.len();
        if !rows_are_there {
            gauge.show(self.shown(finished + copied, gauge));
        }
    }

    /// What counts: a table whose rows are there, and that nobody has called finished yet, takes none of them back.
    fn shown(&self, known: u64, gauge: &Gauge) -> u64 {
        known.max(self.bytes).max(gauge.snapshot().archive_bytes)
    }
}

fn name(table: &TableEntry) -> String {
    match table.schema.as_str() {
        "public" => table.name.clone(),
        schema => format!("{schema}.{}", table.name),
    }
}

/// Whether a line of `pg_restore --verbose` is of no use to who reads why it failed.
pub(super) fn is_chatter(line: &str) -> bool {
    const WORDS: [&str; 11] = [
        "processing ",
        "creating ",
        "connecting ",
        "executing ",
        "launching ",
        "finished ",
        "entering ",
        "skipping ",
        "dropping ",
        "implied ",
        "started ",
    ];
    line.strip_prefix("pg_restore: ").is_some_and(|rest| WORDS.iter().any(|word| rest.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_has_taken_counts_once_and_never_goes_back() {
        let (a, b, c) = (entry("a", None), entry("b", None), entry("c", None));
        let (mut tables, gauge) = (Tables::new(&[&a, &b, &c]).side_by_side(true), Gauge::new());
        gauge.begin("restoring");
        let shown = |tables: &Tables, finished: u64, copied: u64| {
            tables.under_way(finished, copied, &gauge);
            gauge.snapshot().archive_bytes
        };
        let before = tables.finished_bytes();
        assert_eq!(shown(&tables, before, 150), 150, "100 of a, 50 of b");
        assert_eq!(shown(&tables, before, 60), 150, "a's rows are there, and nobody has said so yet");
        tables.said("pg_restore: finished item 1 TABLE DATA a", &gauge);
        assert_eq!(shown(&tables, before, 160), 160, "the server was asked before that was said");
        assert_eq!(shown(&tables, tables.finished_bytes(), 70), 170);
        tables.said("pg_restore: finished item 2 TABLE DATA b", &gauge);
        assert_eq!(gauge.snapshot().archive_bytes, 200);
    }

    fn entry(name: &str, offset: Option<u64>) -> TableEntry {
        TableEntry { schema: "public".into(), name: name.into(), rows: None, bytes: 100, crc32: None, dump_id: None, offset }
    }

    fn at(gauge: &Gauge) -> Option<(u64, u64, String)> {
        gauge.step().and_then(|step| step.table)
    }

    #[test]
    fn the_place_in_the_archive_names_the_table() {
        let (a, b) = (entry("a", Some(1000)), entry("b", Some(1150)));
        let (tables, gauge) = (Tables::new(&[&a, &b]), Gauge::new());
        gauge.begin("restoring");
        for (bytes, expected) in [(1000, None), (100, Some((1, 2, "a"))), (500, Some((2, 2, "b")))] {
            gauge.passed(bytes);
            tables.passed(&gauge);
            assert_eq!(at(&gauge), expected.map(|(number, of, name): (u64, u64, &str)| (number, of, name.to_owned())));
        }
        let unknown = entry("c", None);
        gauge.begin("restoring");
        gauge.passed(5000);
        Tables::new(&[&unknown]).passed(&gauge);
        assert_eq!(at(&gauge), None, "a script has no places");
    }

    #[test]
    fn the_tools_words_name_the_table() {
        let (a, b) = (entry("a", None), entry("b", None));
        let (mut tables, gauge) = (Tables::new(&[&a, &b]), Gauge::new());
        gauge.begin("restoring");
        tables.said("pg_restore: creating TABLE \"public.a\"", &gauge);
        assert_eq!((at(&gauge), gauge.snapshot().archive_bytes), (None, 0));
        tables.said("pg_restore: processing data for table \"public.b\"", &gauge);
        assert_eq!((at(&gauge), gauge.snapshot().archive_bytes), (Some((1, 2, "b".into())), 0));
        tables.said("pg_restore: processing data for table \"public.a\"", &gauge);
        assert_eq!((at(&gauge), gauge.snapshot().archive_bytes), (Some((2, 2, "a".into())), 100));
        let (mut tables, gauge) = (Tables::new(&[&a, &b]).side_by_side(true), Gauge::new());
        gauge.begin("restoring");
        tables.under_way(tables.finished_bytes(), 0, &gauge);
        for line in ["processing data for table \"public.a\"", "processing data for table \"public.b\""] {
            tables.said(&format!("pg_restore: {line}"), &gauge);
        }
        assert_eq!((at(&gauge), gauge.snapshot().archive_bytes), (Some((2, 2, "b".into())), 0), "begun is not done");
        tables.said("pg_restore: finished item 3401 TABLE DATA b", &gauge);
        tables.said("pg_restore: finished item 3402 SEQUENCE SET a", &gauge);
        assert_eq!((gauge.snapshot().archive_bytes, gauge.step().unwrap().doing), (100, "restoring"));
        tables.said("pg_restore: finished item 3400 TABLE DATA a", &gauge);
        assert_eq!(gauge.step().unwrap().doing, "making the indexes and constraints of", "nobody knows how long they take");
        tables.under_way(100, 70, &gauge);
        assert_eq!(gauge.snapshot().archive_bytes, 0, "that is another step");
        assert!(is_chatter("pg_restore: creating INDEX \"public.x\"") && !is_chatter("pg_restore: error: could not execute query"));
        assert!(!is_chatter("pg_restore: warning: errors ignored on restore: 1") && !is_chatter("Command was: SELECT 1"));
    }
}
