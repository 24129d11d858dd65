//! The few statements of `pg_dump` whose parts matter: COPY, CREATE TABLE, ATTACH PARTITION.
//!
//! Reads what `pg_dump` itself writes, not SQL in general: what looks different is "unknown", never an error. Pure.

use super::sql::{Event, Lexer};

/// Schema and name of a table, unquoted.
pub type Qualified = (String, String);

/// What a column's values are in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Numbers; those that JSON lacks (`NaN`) are strings.
    Number,
    /// `true` and `false`.
    Boolean,
    /// Strings.
    Text,
}

/// Types whose text is a JSON number, as `row_to_json` has it.
const NUMBERS: [&str; 6] = ["smallint", "integer", "bigint", "real", "double precision", "numeric"];

/// A script cut after each statement, comment and command to psql, so that a line break within quotes parts nothing. Together the pieces are
/// the script.
#[must_use]
pub fn cut(script: &str) -> Vec<&str> {
    let (mut lexer, mut pieces, mut from, mut at) = (Lexer::telling(&[b""]), Vec::new(), 0, 0);
    while let Some(rest) = script.as_bytes().get(at..).filter(|rest| !rest.is_empty()) {
        let (used, event) = lexer.read(rest);
        at += used;
        // One in the middle of a statement ends nothing.
        let ends = matches!(event, Some(Event::Copy(_) | Event::Other(_))) || lexer.is_between_statements();
        if ends && let Some(piece) = script.get(from..at) {
            pieces.push(piece);
            from = at;
        }
    }
    pieces.extend(script.get(from..).filter(|rest| !rest.is_empty()));
    pieces
}

/// One identifier, unquoted, and what follows it.
pub(super) fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', ' ', '(', ')', ',', ';']).unwrap_or(text.len());
        return text.split_at_checked(end).filter(|(name, _)| !name.is_empty()).map(|(name, rest)| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// `public."my table"` and what follows it.
pub(super) fn qualified(text: &str) -> Option<(Qualified, &str)> {
    let (schema, rest) = identifier(text)?;
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    Some(((schema, name), rest))
}

/// The columns of `COPY public.t (id, "my column") FROM stdin;`; a table without columns has none.
#[must_use]
pub fn copy_columns(statement: &str) -> Option<Vec<String>> {
    let (_, rest) = qualified(statement.strip_prefix("COPY ")?)?;
    let mut columns = Vec::new();
    let Some(mut rest) = rest.strip_prefix(" (") else {
        return rest.trim_start().starts_with("FROM stdin").then_some(columns);
    };
    loop {
        let (column, after) = identifier(rest)?;
        columns.push(column);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None => return after.starts_with(") FROM stdin").then_some(columns),
        }
    }
}

/// The table that a COPY statement fills.
#[must_use]
pub fn copied(statement: &str) -> Option<Qualified> {
    Some(qualified(statement.strip_prefix("COPY ")?)?.0)
}

/// The table that a statement makes, and its columns' shapes. Inherited columns aren't among them.
#[must_use]
pub fn created(statement: &str) -> Option<(Qualified, Vec<(String, Shape)>)> {
    let rest = statement.strip_prefix("CREATE ")?;
    let rest = ["UNLOGGED ", "FOREIGN "].iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest);
    let (table, rest) = qualified(rest.strip_prefix("TABLE ")?)?;
    let columns = rest.strip_prefix(" (").map(|list| parts(list).into_iter().filter_map(column).collect());
    Some((table, columns.unwrap_or_default()))
}

/// The parent and the partition that a statement attaches to it.
#[must_use]
pub fn attached(statement: &str) -> Option<(Qualified, Qualified)> {
    statement.split("ALTER TABLE ONLY ").skip(1).find_map(|text| {
        let (parent, rest) = qualified(text)?;
        let (partition, _) = qualified(rest.strip_prefix(" ATTACH PARTITION ")?)?;
        Some((parent, partition))
    })
}

/// The parts of a list in parentheses, up to its closing one; commas in quotes and inner parentheses don't part.
fn parts(list: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, byte) in list.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(' | b'[') => depth += 1,
            (None, b')' | b']') if depth > 0 => depth -= 1,
            (None, b',' | b')') if depth == 0 => {
                parts.extend(list.get(from..at));
                from = at + 1;
                if byte == b')' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts
}

/// A column's name and shape. `CONSTRAINT …` reads as a column of that name, which no COPY statement has.
fn column(part: &str) -> Option<(String, Shape)> {
    let (name, rest) = identifier(part.trim_start())?;
    let rest = rest.trim();
    let is = |word: &str| {
        let after = rest.strip_prefix(word)?;
        let after = match after.strip_prefix('(') {
            Some(modifier) => modifier.split_once(')')?.1,
            None => after,
        };
        (after.is_empty() || after.starts_with(' ')).then_some(())
    };
    let shape = if NUMBERS.iter().any(|word| is(word).is_some()) {
        Shape::Number
    } else if is("boolean").is_some() {
        Shape::Boolean
    } else {
        Shape::Text
    };
    Some((name, shape))
}

#[cfg(test)]
mod tests {
    use super::Shape::{Boolean, Number, Text};
    use super::*;

    #[test]
    fn columns_of_copy_have_any_name() {
        let columns = |text| copy_columns(text).unwrap();
        assert_eq!(columns("COPY public.t (id, \"a, \"\"b\"\") FROM stdin\", c) FROM stdin;\n"), ["id", "a, \"b\") FROM stdin", "c"]);
        assert!(columns("COPY public.\"a (b\"  FROM stdin;\n").is_empty());
        assert_eq!(copy_columns("COPY public.t (id"), None);
        assert_eq!(copy_columns("INSERT INTO"), None);
    }

    #[test]
    fn only_types_that_json_knows_have_a_shape() {
        let (table, columns) = created(
            "CREATE UNLOGGED TABLE public.\"T\" (\n    a integer DEFAULT 1 NOT NULL,\n    \"b c\" numeric(10,2),\n    c integer[],\n    \
             d text DEFAULT 'x, boolean)'::text,\n    e boolean,\n    f double precision GENERATED ALWAYS AS ((a * 2)) STORED,\n    \
             g public.\"integer\",\n    h bit(3),\n    i numeric(3,1)[],\n    CONSTRAINT k CHECK ((a > 0))\n)\nPARTITION BY LIST (a);\n",
        )
        .unwrap();
        assert_eq!(table, ("public".into(), "T".into()));
        let shapes: Vec<_> = columns.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        let expected = [("a", Number), ("b c", Number), ("c", Text), ("d", Text), ("e", Boolean), ("f", Number), ("g", Text), ("h", Text)];
        assert_eq!(shapes[..8], expected);
        assert_eq!(shapes[8..], [("i", Text), ("CONSTRAINT", Text)]);
        assert_eq!(created("CREATE TABLE public.kid (\n)\nINHERITS (public.t);\n"), Some((("public".into(), "kid".into()), vec![])));
        assert_eq!(created("CREATE VIEW public.v AS"), None);
    }

    #[test]
    fn an_attached_partition_is_found_in_either_form() {
        let expected = Some((("s".into(), "p q".into()), ("s".into(), "a".into())));
        assert_eq!(attached("ALTER TABLE ONLY s.\"p q\" ATTACH PARTITION s.a FOR VALUES IN ('a');\n"), expected);
        assert_eq!(attached("CREATE TABLE s.a (x int);\nALTER TABLE ONLY s.\"p q\" ATTACH PARTITION s.a DEFAULT;\n"), expected);
        assert_eq!(attached("ALTER TABLE ONLY s.a ALTER COLUMN x SET STATISTICS 5;"), None);
    }
}
