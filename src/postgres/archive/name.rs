//! How people name a table, and which one they mean: psql's rules, and near names where there is none.
//!
//! Pure; candidates come one by one, so that an archive of any size is looked through in little memory.

use std::collections::BTreeMap;

use super::statement::Qualified;
use crate::error::{Cause, Failure, Result};

/// Names that are told at once where several would do or come near.
const TOLD: usize = 5;
/// How like a name must be to be called near.
const NEAR: f64 = 0.75;
/// How like each other two names are that differ by one letter more, less, other or swapped.
const ONE_SLIP: f64 = 0.9;

/// A table as it was typed: `orders`, `public.orders`, `"Order Items"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    typed: String,
    schema: Option<Word>,
    name: Word,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Word {
    text: String,
    /// In lower case, as an unquoted word means it.
    folded: String,
}

/// How well a name fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Letter by letter, though the rules fold it.
    AsTyped,
    /// By the rules.
    Exact,
}

impl Wanted {
    /// Reads `[SCHEMA.]TABLE`. As in psql, unquoted letters are lower-case ones, and a quote in quotes is written twice.
    pub fn parse(typed: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Failure::new(Cause::Configuration, format!("{typed:?} names no table: {why}")).hint(
                "write TABLE or SCHEMA.TABLE, in double quotes where the name holds dots, quotes or capital letters: 'public.\"My Table\"'",
            )
        };
        let mut words = vec![Word::default()];
        let (mut quoted, mut chars) = (false, typed.chars().peekable());
        while let Some(letter) = chars.next() {
            let Some(word) = words.last_mut() else { break };
            match letter {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    word.push(letter, false);
                }
                '"' => quoted = !quoted,
                '.' if !quoted => words.push(Word::default()),
                _ => word.push(letter, !quoted),
            }
        }
        if quoted {
            return Err(wrong("a double quote is never closed"));
        }
        let name = words.pop().unwrap_or_default();
        let schema = words.pop();
        if !words.is_empty() {
            return Err(wrong("it has more than two parts"));
        }
        if name.text.is_empty() || schema.as_ref().is_some_and(|word| word.text.is_empty()) {
            return Err(wrong("a part of it is empty"));
        }
        if typed.contains(char::REPLACEMENT_CHARACTER) {
            let words = format!(
                "{typed:?} may stand for several tables: what pgdumpd can't read of a name is shown as {}",
                char::REPLACEMENT_CHARACTER
            );
            return Err(Failure::new(Cause::Refused, words).hint("restore the backup into a new database, and look at the table there"));
        }
        Ok(Self { typed: typed.to_owned(), schema, name })
    }

    fn fit(&self, schema: &str, name: &str) -> Option<Fit> {
        let of_schema = self.schema.as_ref().map_or(Some(Fit::Exact), |word| word.fit(schema));
        Some(self.name.fit(name)?.min(of_schema?))
    }

    fn likeness(&self, schema: &str, name: &str) -> f64 {
        let name = name.to_lowercase();
        // In a short name one slip of the finger is a large part of it.
        let slip = if strsim::osa_distance(&self.name.folded, &name) <= 1 { ONE_SLIP } else { 0.0 };
        let of_name = strsim::jaro_winkler(&self.name.folded, &name).max(slip);
        let of_schema = self.schema.as_ref().map_or(1.0, |word| strsim::jaro_winkler(&word.folded, &schema.to_lowercase()));
        of_name * (0.8 + 0.2 * of_schema)
    }
}

impl Word {
    fn push(&mut self, letter: char, folds: bool) {
        self.text.push(letter);
        if folds { self.folded.push(letter.to_ascii_lowercase()) } else { self.folded.push(letter) }
    }

    fn fit(&self, name: &str) -> Option<Fit> {
        if self.folded == name { Some(Fit::Exact) } else { (self.text == name).then_some(Fit::AsTyped) }
    }
}

/// The search for a table among candidates.
#[derive(Debug)]
pub struct Finder<'a> {
    wanted: &'a Wanted,
    fits: BTreeMap<Qualified, Fit>,
    near: Vec<(f64, Qualified)>,
}

impl<'a> Finder<'a> {
    /// A search that has seen nothing yet.
    #[must_use]
    pub fn new(wanted: &'a Wanted) -> Self {
        Self { wanted, fits: BTreeMap::new(), near: Vec::new() }
    }

    /// Looks at a candidate; seeing one twice is fine.
    pub fn see(&mut self, schema: &str, name: &str) {
        if let Some(fit) = self.wanted.fit(schema, name) {
            self.fits.insert((schema.to_owned(), name.to_owned()), fit);
            return;
        }
        let likeness = self.wanted.likeness(schema, name);
        let known = |(_, (of, other)): &(f64, Qualified)| of == schema && other == name;
        if likeness < NEAR || self.near.iter().any(known) {
            return;
        }
        let at = self.near.partition_point(|(other, _)| *other >= likeness);
        self.near.insert(at, (likeness, (schema.to_owned(), name.to_owned())));
        self.near.truncate(TOLD);
    }

    /// The one that is meant. None, or several, is an error that names what comes near.
    pub fn found(self) -> Result<Qualified> {
        let best = self.fits.values().max().copied();
        let mut fits: Vec<Qualified> = self.fits.into_iter().filter(|(_, fit)| Some(*fit) == best).map(|(name, _)| name).collect();
        let typed = &self.wanted.typed;
        if fits.len() > 1 {
            let words = format!("{typed} could be any of {} tables: {}", fits.len(), list(&fits));
            return Err(Failure::new(Cause::NotFound, words).hint("name its schema as well: SCHEMA.TABLE"));
        }
        fits.pop().ok_or_else(|| {
            let near: Vec<Qualified> = self.near.into_iter().map(|(_, name)| name).collect();
            let failure = Failure::new(Cause::NotFound, format!("the backup holds no table {typed}"));
            if near.is_empty() {
                failure.hint("`pgdumpd show BACKUP --tables` lists the tables with their rows, --toc everything")
            } else {
                failure.hint(format!("near names are {}", list(&near)))
            }
        })
    }
}

fn list(names: &[Qualified]) -> String {
    let mut told: Vec<String> = names.iter().take(TOLD).map(|(schema, name)| shown(schema, name)).collect();
    if names.len() > TOLD {
        told.push(String::from("…"));
    }
    told.join(", ")
}

/// A table's name as it would be typed: `public."My Table"`.
#[must_use]
pub fn shown(schema: &str, name: &str) -> String {
    if schema.is_empty() { quoted(name) } else { format!("{}.{}", quoted(schema), quoted(name)) }
}

/// An identifier, quoted where it needs to be; key words are left as they are.
fn quoted(name: &str) -> String {
    let plain = |(at, byte): (usize, u8)| byte.is_ascii_lowercase() || byte == b'_' || byte >= 0x80 || (at > 0 && byte.is_ascii_digit());
    if !name.is_empty() && name.bytes().enumerate().all(plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [(&str, &str); 6] =
        [("public", "orders"), ("old", "orders"), ("public", "Orders"), ("public", "order_items"), ("s.t", "a\"b"), ("public", "Items")];

    fn find(typed: &str) -> Result<String> {
        let wanted = Wanted::parse(typed)?;
        let mut finder = Finder::new(&wanted);
        TABLES.iter().chain(&TABLES).for_each(|(schema, name)| finder.see(schema, name));
        finder.found().map(|(schema, name)| shown(&schema, &name))
    }

    #[test]
    fn a_table_is_named_as_in_psql() {
        for (typed, expected) in [
            ("order_items", "public.order_items"),
            ("ORDER_items", "public.order_items"),
            ("public.orders", "public.orders"),
            ("PUBLIC.ORDERS", "public.orders"),
            ("\"Orders\"", "public.\"Orders\""),
            ("public.\"Orders\"", "public.\"Orders\""),
            ("Items", "public.\"Items\""),
            ("\"s.t\".\"a\"\"b\"", "\"s.t\".\"a\"\"b\""),
        ] {
            assert_eq!(find(typed).unwrap(), expected, "{typed}");
        }
    }

    #[test]
    fn an_ambiguous_or_unknown_name_is_told_with_others() {
        let failure = find("orders").unwrap_err();
        assert_eq!(failure.message, "orders could be any of 2 tables: old.orders, public.orders");
        let failure = find("public.ordrs").unwrap_err();
        assert_eq!(failure.message, "the backup holds no table public.ordrs");
        assert!(failure.hint.unwrap().starts_with("near names are public."));
        assert!(find("xyzzy").unwrap_err().hint.unwrap().contains("--tables"));
    }

    #[test]
    fn what_names_no_table_is_a_usage_error() {
        for typed in ["", ".", "a.", ".a", "a.b.c", "\"a", "a.\"\""] {
            assert_eq!(Wanted::parse(typed).unwrap_err().cause, Cause::Configuration, "{typed:?}");
        }
    }
}
