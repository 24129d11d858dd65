//! The statements with names that would like to be SQL.

use super::*;

fn key(names: &[&str]) -> Key {
    let column =
        |name: &&str| KeyColumn { name: (*name).to_owned(), operator_schema: "pg_catalog".into(), operator: "=".into(), collation: None };
    Key { name: "k".into(), primary: true, nulls_are_equal: false, columns: names.iter().map(column).collect() }
}

fn column(name: &str) -> Column {
    Column { name: name.into(), not_null: false, has_default: false, identity: String::new(), generated: false, lacks: Vec::new() }
}

fn target(columns: Vec<Column>) -> Target {
    let keys = vec![key(&["id"])];
    Target {
        schema: "public".into(),
        name: "t".into(),
        kind: "r".into(),
        row_security: false,
        columns,
        keys,
        triggers: Vec::new(),
        serials: Vec::new(),
        lacks: Vec::new(),
    }
}

#[test]
fn hostile_names_stay_names() {
    let evil = "x\"; drop table t; --";
    let mut target = target(vec![column(evil), column("b'\\")]);
    target.schema = "s.\"".into();
    target.name = evil.into();
    let columns = vec![evil.to_owned(), "b'\\".to_owned()];
    let mut key = key(&[evil]);
    key.columns[0].collation = Some((evil.into(), "c\"".into()));
    let merge = Merge { target: &target, columns: &columns, key: &key };
    let serial = Serial { column: evil.into(), schema: "s".into(), name: "q'".into(), may_read: true };
    let all = [
        merge.lock(),
        merge.stage(),
        Merge::copy(merge.columns),
        merge.without_key(),
        merge.doubles(5),
        merge.conflicts(5),
        merge.update(),
        merge.insert(),
        Merge::advance(&serial),
    ];
    for statement in all {
        // Outside of quotes there is no trace of the names.
        let mut outside = String::new();
        let mut quote = None;
        let mut letters = statement.chars().peekable();
        while let Some(letter) = letters.next() {
            match quote {
                None if matches!(letter, '"' | '\'') => quote = Some(letter),
                None => outside.push(letter),
                Some('\'') if letter == '\\' => drop(letters.next()),
                Some(closing) if letter == closing => {
                    if letters.peek() == Some(&closing) {
                        letters.next();
                    } else {
                        quote = None;
                    }
                }
                Some(_) => {}
            }
        }
        assert!(quote.is_none() && !outside.contains("drop table") && !outside.contains("--"), "{statement}\n{outside}");
    }
}

#[test]
fn only_what_may_be_written_is_written() {
    let always = Column { identity: "a".into(), ..column("serial") };
    let computed = Column { generated: true, ..column("sum") };
    let target = target(vec![column("id"), column("a"), always, computed]);
    let columns: Vec<String> = ["a", "sum", "serial", "id"].map(String::from).to_vec();
    let key = key(&["id"]);
    let merge = Merge { target: &target, columns: &columns, key: &key };
    assert_eq!(merge.settable().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(merge.insert().contains("(\"a\", \"serial\", \"id\") overriding system value"), "{}", merge.insert());
    assert!(merge.stage().contains("t.\"a\", null::pg_catalog.text as \"sum\", t.\"serial\", t.\"id\""), "{}", merge.stage());
    assert!(Merge::copy(merge.columns).contains("(\"a\", \"sum\", \"serial\", \"id\")"), "in the order of the backup");
    assert!(merge.update().contains("update only \"public\".\"t\""));
    let all = vec!["id".to_owned()];
    assert_eq!(Merge { columns: &all, ..merge }.update(), "select pg_catalog.to_json(0)", "there is nothing but the key");
}
