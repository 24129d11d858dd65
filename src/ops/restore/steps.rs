//! What a plan will do, step by step, as a person reads it.

use crate::error::Result;
use crate::postgres::database;
use crate::postgres::ties::Subscription;

use super::choose::{RELATIONS, qualified};
use super::settle::Fate;
use super::{Means, Plan, Way};

/// What will be done, as a person reads it.
pub(super) fn steps(means: Means<'_>, plan: &Plan) -> Result<Vec<String>> {
    let like = means.manifest.database_properties.as_ref();
    let server = plan.recipe.server.version_num;
    let fill = |name: &str| format!("restore {} into {name:?} with the client {}", means.manifest.backup_file, plan.client_version);
    let check = String::from("compare rows, sequences, indexes and constraints with the backup");
    let first = plan.makes_public.then(|| format!("make the schema public, which {:?} lacks", plan.database));
    let steps = match &plan.way {
        Way::New { temporary, owner, like: alike, comment } => {
            let mut steps = vec![database::create(temporary, like, None, server)?, fill(temporary), check];
            steps.extend(owner.iter().map(|owner| database::give(temporary, owner)));
            steps.extend(alike.iter().cloned());
            steps.extend(comment.iter().map(|comment| database::comment(temporary, Some(comment))));
            steps.push(database::rename(temporary, &plan.database));
            steps
        }
        Way::Fill | Way::InPlace if plan.part.is_some() => {
            [Some(fill(&plan.database)), of_part(plan), Some(check)].into_iter().flatten().collect()
        }
        Way::Fill => vec![format!("{}, in one transaction", fill(&plan.database)), check],
        Way::InPlace => vec![format!("{}, each object dropped before it is made, in one transaction", fill(&plan.database)), check],
        Way::Swap { temporary, keep_as, drop_old, old, ties } => {
            let mut steps = vec![database::create(temporary, like, Some(&old.tablespace), server)?, fill(temporary), check];
            steps.push(format!("end the sessions in {:?} ({} now); then, in one transaction:", plan.database, old.sessions));
            steps.extend(database::alike(temporary, old));
            steps.push(database::rename(&plan.database, keep_as));
            steps.push(database::rename(temporary, &plan.database));
            let subscriptions = ties.subscriptions.iter();
            let inside = |line: String| format!("in {keep_as:?}: {line}");
            if *drop_old {
                steps.extend(subscriptions.flat_map(Subscription::dropped).map(inside));
                steps.push(database::drop(keep_as));
            } else {
                steps.extend(subscriptions.filter(|one| one.enabled).map(Subscription::disabled).map(inside));
            }
            steps
        }
    };
    Ok(first.into_iter().chain(steps).collect())
}

/// Of a part that goes into a database that holds something: what is dropped and made, and that nothing else is.
fn of_part(plan: &Plan) -> Option<String> {
    let (fate, _) = plan.part.as_ref()?;
    let chosen = plan.recipe.chosen.as_ref()?;
    let entries = plan.recipe.entries();
    let own = entries.iter().filter(|entry| RELATIONS.contains(&entry.desc.as_str()) && !chosen.needed.contains(&entry.dump_id));
    let names: Vec<String> = own.map(|entry| qualified(entry)).collect();
    let done = if *fate == Fate::Remade { "dropped and made again" } else { "made" };
    Some(format!("{done}, with what belongs to each and in one transaction: {}; what else is there stays as it is", names.join(", ")))
}
