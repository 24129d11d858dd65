//! The letter about a project whose backups come from several servers.

use super::About;
use super::failing::place;
use super::page::{Page, age, command, count, time};
use crate::retention;

/// A project with backups of more than one server, of which nobody has said yet that they are one line.
#[derive(Debug, Clone)]
pub struct Divided {
    /// The project.
    pub about: About,
    /// By database and selection; at least one.
    pub groups: Vec<retention::Divided>,
}

impl Divided {
    pub(super) fn headline(&self) -> String {
        let servers = self.groups.iter().map(|group| group.servers.len()).max().unwrap_or_default();
        format!("HELD {}: it has backups of {servers} servers, and nothing of them is pruned", self.about.project)
    }

    pub(super) fn body(&self) -> String {
        let About { project, zone, now, .. } = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "Backups of project {project} come from more than one database server. The retention would let the newer server's backups push out \
             the other's, so nothing of what is listed here is pruned until somebody says that it is meant to be so."
        ));
        for group in &self.groups {
            let rows: Vec<(&str, String)> = group
                .servers
                .iter()
                .map(|origin| {
                    let newest = format!("{}, {} ago ({})", time(origin.newest_at, *zone), age(origin.newest_at, *now), origin.newest);
                    let words =
                        format!("system identifier {}, {}, newest {newest}", origin.system_identifier, count(origin.backups, "backup"));
                    (origin.server.as_deref().unwrap_or("place unknown"), words)
                })
                .collect();
            page.table(&format!("{} ({})", group.database, group.selection), &rows);
        }
        page.prose(
            "Either the project was pointed at another server: then say so with the first line below, and the retention goes on over both. A move \
             by pg_upgrade or by dump and restore changes the identifier; a promoted standby or a restored base backup keeps it. Or two different \
             databases are backed up under one name: a second configuration, perhaps on another machine, uses this storage and this project name. \
             Then give one of them another project name, or another storage. Until then a restore of `@latest` asks which server is meant; what reads, and \
             drills, take the own server's.",
        );
        page.commands(&[
            ("the new server succeeds the old one", command(&self.about, &["prune", project, "--confirm"])),
            ("see each backup", command(&self.about, &["prune", project, "--dry-run"])),
        ]);
        page.prose("Until then backups go on being made, so watch the space. This is told once, until another server comes.");
        page.table("Facts", &place(&self.about));
        page.finish()
    }
}
