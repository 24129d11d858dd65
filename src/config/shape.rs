//! Reads the keys that shape a dump, which a project has and a schedule may overrule.

use super::item::{Item, set, shown};
use super::keys::Key;
use super::report::{Place, Trouble, nearest};
use crate::model::dump::{Compression, Content, DumpShape, Format};
use crate::model::options;

/// Sets the key's value; `false` where it is no key of a shape.
pub(super) fn apply(shape: &mut DumpShape, key: &Key, item: &Item<'_>) -> bool {
    match key.name {
        "content" => set(&mut shape.content, pick(item, &[Content::Full, Content::Schema, Content::Data])),
        "format" => set(&mut shape.format, pick(item, &[Format::Custom, Format::Plain, Format::Tar, Format::Directory])),
        "compression" => set(&mut shape.compression, compression(item)),
        "jobs" => set(&mut shape.jobs, item.count()),
        "tables" => set(&mut shape.include_tables, item.names()),
        "exclude_tables" => set(&mut shape.exclude_tables, item.names()),
        "schemas" => set(&mut shape.include_schemas, item.names()),
        "exclude_schemas" => set(&mut shape.exclude_schemas, item.names()),
        "exclude_table_data" => set(&mut shape.exclude_table_data, item.names()),
        "options" => set(&mut shape.options, vetted(item)),
        _ => return false,
    }
    true
}

/// Tells combinations that `pg_dump` refuses, or takes and half ignores. `written` holds the places of the keys, where they have one, and
/// `inherited` those in `[defaults]`: what stands wholly there is told there.
pub(super) fn check(shape: &DumpShape, place: &Place, written: &[(&'static str, Place)], inherited: &[(&'static str, Place)]) {
    let find = |list: &[(&'static str, Place)], name: &str| list.iter().find(|(key, _)| *key == name).map(|(_, place)| place.clone());
    let at = |name: &str, other: &str| {
        let of_defaults = || find(inherited, name).filter(|_| find(written, other).is_none());
        find(written, name).or_else(of_defaults).unwrap_or_else(|| place.key(name))
    };
    if shape.jobs > 1 && shape.format != Format::Directory {
        let why = format!("more than one job needs the directory format, not {}", shape.format.word());
        at("jobs", "format").problem(Trouble::new(why).hint("set format = \"directory\", or leave jobs out"));
    }
    if shape.compression == Compression::Native && matches!(shape.format, Format::Plain | Format::Tar) {
        let why = format!("native compression needs the custom or the directory format, not {}", shape.format.word());
        at("compression", "format").problem(Trouble::new(why));
    }
    if !shape.include_tables.is_empty() && !shape.include_schemas.is_empty() {
        at("schemas", "tables").problem(
            Trouble::new("has no effect beside tables, pg_dump ignores it")
                .hint("write the schema into each pattern: tables = [\"sales.*\"]"),
        );
    }
}

fn pick<T: Copy>(item: &Item<'_>, values: &[T]) -> Option<T> {
    item.word().and_then(|at| values.get(at).copied())
}

/// `zstd`, `zstd:9`, `none`, …
fn compression(item: &Item<'_>) -> Option<Compression> {
    let text = item.text()?;
    let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
    let limits = match name {
        "zstd" => Some((3, 19)),
        "gzip" => Some((6, 9)),
        "bzip2" => Some((9, 9)),
        "none" | "native" => None,
        _ => {
            let near = nearest(name, ["zstd", "gzip", "bzip2", "none", "native"].into_iter());
            let trouble = Trouble::new(format!("unknown compression {}", shown(text)));
            item.place.problem(trouble.expected(item.kind.expected()).suggest(near));
            return None;
        }
    };
    let level = match (limits, level) {
        (Some((default, _)), None) => default,
        (None, None) => 0,
        (Some((_, highest)), Some(level)) => match level.parse::<u32>() {
            Ok(level) if (1..=highest).contains(&level) => level,
            _ => {
                item.place.problem(Trouble::new(format!("{name} has no level {}", shown(level))).expected(format!("1 to {highest}")));
                return None;
            }
        },
        (None, Some(_)) => {
            item.wrong(format!("{name} has no levels"));
            return None;
        }
    };
    Some(match name {
        "zstd" => Compression::Zstd(level.cast_signed()),
        "gzip" => Compression::Gzip(level),
        "bzip2" => Compression::Bzip2(level),
        "native" => Compression::Native,
        _ => Compression::None,
    })
}

/// Options in their long form that the allow-list lets pass: nothing else ever reaches `pg_dump`.
fn vetted(item: &Item<'_>) -> Option<Vec<String>> {
    let vetted = item.list(super::kind::Kind::Text, |item| {
        let option = item.name()?;
        let is_long = option.starts_with("--") && option.len() > 2;
        let refused = options::vet_options(std::slice::from_ref(&option)).err();
        // What can't be used is told so, and not how it would be spelled.
        let instead = options::key_instead(&option).filter(|_| refused.is_some());
        if let Some(failure) = refused.filter(|_| is_long || instead.is_some()) {
            let trouble = Trouble::new(failure.message);
            // A file's keys are named in the message.
            let variable = instead.filter(|_| item.place.is_variable()).map(|key| format!("set PGDUMPD_{}", key.to_uppercase()));
            item.place.problem(match variable.or(failure.hint) {
                Some(hint) => trouble.hint(hint),
                None => trouble,
            });
            return None;
        }
        if !is_long {
            let hint = options::in_full(&option).map(|long| format!("write \"{long}\""));
            item.place.problem(
                Trouble::new(format!("{} is not a long option", shown(&option)))
                    .hint(hint.unwrap_or_else(|| String::from("write one word each: \"--no-comments\", \"--rows-per-insert=100\""))),
            );
            return None;
        }
        Some(option)
    })?;
    if let Err(failure) = options::vet_together(&vetted) {
        item.place.problem(Trouble::new(failure.message).hint(failure.hint.unwrap_or_default()));
        return None;
    }
    Some(vetted)
}
