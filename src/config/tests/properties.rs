//! Whatever stands in the file: no panic, and no secret in any word.

use proptest::prelude::*;
use secrecy::SecretString;

use super::{nothing, parse, shop, told};
use crate::config::keys::SECTIONS;
use crate::config::{keywords, url};

/// Any small TOML value as text.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<f32>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:.3}")),
        "\\PC{0,12}".prop_map(|text| toml::Value::String(text).to_string()),
        prop::sample::select(vec![
            "\"26h\"",
            "\"all\"",
            "\"* * * * *\"",
            "\"2 GiB\"",
            "\"/a/b\"",
            "\"postgresql://u:p@h/d\"",
            "1979-05-27",
            "\"zstd:3\"",
            "\"main\""
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        let key = prop_oneof![key(), "[a-z_]{1,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|table| format!(
                "{{ {} }}",
                table.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
            )),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let names: Vec<String> = SECTIONS.iter().flat_map(|section| section.keys()).map(|key| key.name.to_owned()).collect();
    prop::sample::select(names)
}

fn document() -> impl Strategy<Value = String> {
    let headers = vec![
        "[daemon]",
        "[storage.main]",
        "[smtp]",
        "[defaults]",
        "[[project]]",
        "[[project]]\n[[project.schedule]]",
        "[nonsense]",
        "[storage]",
    ];
    let section = (prop::sample::select(headers), prop::collection::btree_map(key(), value(), 0..8));
    prop::collection::vec(section, 0..6).prop_map(|sections| {
        let lines = sections.iter().flat_map(|(header, keys)| {
            std::iter::once((*header).to_owned()).chain(keys.iter().map(|(key, value)| format!("{key} = {value}")))
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[\\PC\\n]{0,200}") {
        let _ = told(&text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_documents_never_panic_and_every_refusal_has_a_reason(text in document()) {
        if let Err(problems) = parse(&text, "pgdumpd.toml", &nothing) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(!problem.to_string().contains(['\n', '\u{1b}']), "{problem}");
                prop_assert!(!problem.message.contains("please report"), "{problem}");
            }
        }
    }

    #[test]
    fn arbitrary_connections_never_panic(text in "\\PC{0,60}", near in "(postgresql://)?[a-z:@/?&=%0-9,\\[\\]' \\\\]{0,40}") {
        for text in [text, near] {
            let _ = (url::split(&text), keywords::parse(&text));
        }
    }

    #[test]
    fn no_secret_is_ever_printed(secret in "[A-Z]{12,20}", broken in any::<bool>()) {
        // Percent-encoded in the URL, so that neither form may appear.
        let encoded: Vec<String> = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let encoded = encoded.concat();
        let tail = if broken { "retension = 1\nstorage = [\"x\"]\n" } else { "" };
        let texts = [
            shop(tail).replace("backup@", &format!("backup:{encoded}@")),
            shop(tail).replace("backup@", &format!("backup:{secret}@")),
            shop(tail).replace("db/shop", &format!("db/shop?password={secret}")),
            shop(&format!("password = \"{secret}\"\n{tail}")),
            shop(tail).replace("\"postgresql://backup@db/shop\"", &format!("\"host=db password={secret}\"")),
            shop(tail).replace("\"postgresql://backup@db/shop\"", &format!("{{ host = \"db\", password = \"{secret}\" }}")),
            shop(tail).replace("[smtp]", &format!("[smtp]\nusername = \"x\"\npassword = \"{secret}\"")),
            format!("password = \"{secret}\n{}", shop(tail)),
        ];
        for text in texts {
            let shown = format!("{:?}", parse(&text, "pgdumpd.toml", &nothing));
            prop_assert!(!shown.contains(&secret) && !shown.contains(&encoded), "{shown}");
        }
        let alone = format!("{:?}", SecretString::from(secret.clone()));
        prop_assert!(!alone.contains(&secret));
    }
}
