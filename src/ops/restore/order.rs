//! The order in which `pg_restore` takes entries, where its own does not do.
//!
//! It makes event triggers before it refreshes materialised views, and a trigger that notes each command in a table would note the refreshes:
//! they come last here. Where each object is dropped before it is made, it drops in the reverse order of its list. `pg_dump` puts the primary
//! key of a partition behind that of its parent, so that it would be dropped first, which the server refuses for what is inherited. With the
//! parent's behind them all, the parent's takes them along, and `IF EXISTS` passes over them. What is made has no order between the two: they
//! are joined by entries (`INDEX ATTACH`) that come after both.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::archive::toc::Entry;

/// Levels of partitions that are followed.
const DEEPEST: usize = 100;

/// The numbers of these entries as they must come; `None` is as they come. `clean` says whether what is there is dropped first.
pub(super) fn sorted(entries: &[&Entry], clean: bool) -> Option<Vec<i32>> {
    let ordered = if clean { partitions_first(entries) } else { None };
    let Some((_, triggers)) = event_triggers_apart(entries) else { return ordered };
    let ordered = ordered.unwrap_or_else(|| entries.iter().map(|entry| entry.dump_id).collect());
    let others = ordered.into_iter().filter(|id| !triggers.contains(id)).collect();
    Some([others, triggers].concat())
}

/// The numbers of what several connections may restore in the order of their choice, and of what must wait until that is done; `None` where
/// nothing must. Beside event triggers that is what switches a partition's trigger on or off: `pg_dump` doesn't say that it needs the one of
/// its parent, with which it is made.
pub(super) fn for_several(entries: &[&Entry]) -> Option<(Vec<i32>, Vec<i32>)> {
    let is_switch = |entry: &Entry| entry.desc == "TRIGGER" && entry.defn.trim_start().starts_with("ALTER ");
    let mut after: Vec<i32> = entries.iter().filter(|entry| is_switch(entry)).map(|entry| entry.dump_id).collect();
    after.extend(event_triggers_apart(entries).map(|(_, triggers)| triggers).unwrap_or_default());
    let late: BTreeSet<i32> = after.iter().copied().collect();
    let first = entries.iter().map(|entry| entry.dump_id).filter(|id| !late.contains(id)).collect();
    (!after.is_empty()).then_some((first, after))
}

/// The numbers of all but the event triggers, and of those with what belongs to them; `None` where nothing is refreshed that they could see.
fn event_triggers_apart(entries: &[&Entry]) -> Option<(Vec<i32>, Vec<i32>)> {
    let is_of_trigger = |entry: &Entry| entry.desc == "EVENT TRIGGER" || entry.tag.starts_with("EVENT TRIGGER ");
    let ids = |some: Vec<&Entry>| some.iter().map(|entry| entry.dump_id).collect::<Vec<i32>>();
    let (triggers, others): (Vec<&Entry>, Vec<&Entry>) = entries.iter().copied().partition(|entry| is_of_trigger(entry));
    let refreshes = others.iter().any(|entry| entry.desc == "MATERIALIZED VIEW DATA");
    (refreshes && !triggers.is_empty()).then(|| (ids(others), ids(triggers)))
}

/// The numbers of these entries with the constraints of partitions before those of their parents; `None` where that changes nothing.
fn partitions_first(entries: &[&Entry]) -> Option<Vec<i32>> {
    let parents = parents(entries);
    let depth = |id: i32| std::iter::successors(Some(id), |id| parents.get(id).copied()).take(DEEPEST).count();
    let joined: BTreeSet<i32> = parents.iter().flat_map(|(part, parent)| [*part, *parent]).collect();
    let first = entries.iter().position(|entry| joined.contains(&entry.dump_id))?;
    let others = |some: &[&Entry]| some.iter().map(|entry| entry.dump_id).filter(|id| !joined.contains(id)).collect::<Vec<i32>>();
    let mut sorted: Vec<i32> = joined.iter().copied().collect();
    sorted.sort_by_key(|id| std::cmp::Reverse(depth(*id)));
    Some([others(&entries[..first]), sorted, others(&entries[first..])].concat())
}

/// The parent's constraint of each partition's.
fn parents(entries: &[&Entry]) -> BTreeMap<i32, i32> {
    let constraints: BTreeMap<i32, &Entry> =
        entries.iter().filter(|entry| entry.desc == "CONSTRAINT").map(|entry| (entry.dump_id, *entry)).collect();
    let mut parents = BTreeMap::new();
    for attach in entries.iter().filter(|entry| entry.desc == "INDEX ATTACH") {
        // The constraint's tag is "TABLE CONSTRAINT", the index has the constraint's name.
        let is_part = |entry: &Entry| {
            entry.namespace == attach.namespace && entry.tag.strip_suffix(&attach.tag).is_some_and(|table| table.ends_with(' '))
        };
        let (parts, others): (Vec<&Entry>, Vec<&Entry>) =
            attach.dependencies.iter().filter_map(|id| constraints.get(id).copied()).partition(|entry| is_part(entry));
        if let (Some(part), Some(parent)) = (parts.first(), others.first()) {
            parents.insert(part.dump_id, parent.dump_id);
        }
    }
    parents
}
