//! The reference of all keys as Markdown, made from the table that reading follows, so that it can't say anything else.

use super::keys::{Key, SECTIONS, Section};
use super::kind::Kind;
use super::{ambient, env};

/// The text of docs/configuration.md; a test compares it with the file.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         One TOML file, `/etc/pgdumpd/pgdumpd.toml` unless `--config` or `PGDUMPD_CONFIG` names another. `pgdumpd check` tells everything that\n\
         is wrong with it at once. Durations are written `26h`, `15 min`, `1h 30min`, `30 days`; sizes `2 GiB`, `500 MB`. Paths are absolute.\n\
         [config/pgdumpd.toml](../config/pgdumpd.toml) is a commented example. This page is generated from the program.\n",
    );
    for section in SECTIONS {
        let rows: Vec<String> = section.keys().map(row).collect();
        let parts = [
            "\n## `",
            section.header,
            "`\n\n",
            section.doc,
            "\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
            &rows.concat(),
        ];
        text.push_str(&parts.concat());
        text.push_str(&variables(section));
    }
    text.push_str(&ambient::reference());
    text
}

fn row(key: &Key) -> String {
    let default = if key.default.is_empty() { String::from("unset") } else { format!("`{}`", key.default) };
    let value = key.kind.expected().replace('|', "\\|");
    format!("| `{}` | {value} | {default} | {} |\n", key.name, key.doc.replace('|', "\\|"))
}

/// The section's environment twins, where it has them.
fn variables(section: &Section) -> String {
    let Some((_, word)) = env::SECTIONS.iter().find(|(header, _)| *header == section.header) else { return String::new() };
    let mut names = Vec::new();
    for key in section.keys() {
        let name = env::name(word, key);
        names.push(format!("`{name}`"));
        if key.kind == Kind::Secret {
            names.push(format!("`{name}_FILE`"));
        }
    }
    format!("\nVariables, which win over the file; lists are separated by commas: {}.\n", names.join(", "))
}
