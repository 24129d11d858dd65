//! psql's patterns as conditions in SQL, so that the checks before a dump look at what `pg_dump` will select.
//!
//! Follows `patternToSQLRegex` of PostgreSQL (manual: psql, Patterns). Pure. Only `rights` calls it.

use super::quote::literal;

/// What a regular expression would take for more than a letter.
const SPECIAL: &str = "|*+?()[]{}.^$\\";

/// A pattern cut at its dots into anchored regular expressions, the last of them for the object's own name.
fn expressions(pattern: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(part) = parts.last_mut() else { break };
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '*' if !quoted => part.push_str(".*"),
            '?' if !quoted => part.push('.'),
            '.' if !quoted => parts.push(String::new()),
            '$' => part.push_str("\\$"),
            '[' if letters.peek() == Some(&']') => part.push_str("\\["),
            _ if quoted && SPECIAL.contains(letter) => part.extend(['\\', letter]),
            _ if quoted => part.push(letter),
            _ => part.push(letter.to_ascii_lowercase()),
        }
    }
    parts.into_iter().map(|part| format!("^({part})$")).collect()
}

fn matches(column: &str, expression: &str) -> String {
    format!("{column} ~ {} collate pg_catalog.\"default\"", literal(expression))
}

/// Whether the table `c` in schema `n` matches one of the patterns; a pattern without a schema sees what `visible` says.
pub(super) fn any_table(patterns: &[String], visible: &str) -> String {
    any(patterns, |parts| match parts {
        [.., schema, name] => format!("{} and {}", matches("n.nspname", schema), matches("c.relname", name)),
        [name] => format!("{} and {visible}", matches("c.relname", name)),
        [] => String::from("false"),
    })
}

/// Whether the relation `c` in schema `n` is one that `--table` takes by this pattern. A database may be named before the schema, where it
/// is the connected one.
pub(super) fn table(pattern: &str, visible: &str) -> String {
    let own = match expressions(pattern).as_slice() {
        [_] | [_, _] => String::from("true"),
        [database, _, _] => matches("current_database()", database),
        _ => String::from("false"),
    };
    format!("{own} and {}", any_table(&[pattern.to_owned()], visible))
}

/// Whether the schema `n` is one that `--schema` takes by this pattern, which must not have a dot.
pub(super) fn schema(pattern: &str) -> String {
    if expressions(pattern).len() == 1 { any_schema(&[pattern.to_owned()]) } else { String::from("false") }
}

/// Whether the schema `n` matches one of the patterns.
pub(super) fn any_schema(patterns: &[String]) -> String {
    any(patterns, |parts| parts.last().map_or_else(|| String::from("false"), |name| matches("n.nspname", name)))
}

fn any(patterns: &[String], condition: impl Fn(&[String]) -> String) -> String {
    let conditions: Vec<String> = patterns.iter().map(|pattern| format!("({})", condition(&expressions(pattern)))).collect();
    if conditions.is_empty() { String::from("false") } else { format!("({})", conditions.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_what_psql_makes_of_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("Orders", &["^(orders)$"]),
            ("\"Orders\"", &["^(Orders)$"]),
            ("public.o*_?", &["^(public)$", "^(o.*_.)$"]),
            ("\"a.b\".\"c\"\"d*\"", &["^(a\\.b)$", "^(c\"d\\*)$"]),
            ("db.s.t", &["^(db)$", "^(s)$", "^(t)$"]),
            ("price$", &["^(price\\$)$"]),
            ("t[0-9]", &["^(t[0-9])$"]),
            ("int[]", &["^(int\\[])$"]),
            ("a|b", &["^(a|b)$"]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(expressions(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_stays_a_literal() {
        let sql = any_schema(&["x' or true --\\".to_owned()]);
        assert!(sql.contains("E'^(x'' or true --\\\\)$'"), "{sql}");
    }
}
