//! What ties a database to others: subscriptions, whose workers write into it; logical replication slots, by which others read it; and
//! transactions that were prepared in it and wait for their second half.
//!
//! Owns [`Ties`], the questions and the statements. It never decides whom that stops, nor what becomes of it; restores and drills do.

use serde::{Deserialize, Serialize};

use super::quote::{ident, literal, texts};
use super::session::Session;
use crate::error::Result;

/// What ties one database to others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
pub struct Ties {
    /// Its subscriptions, by name.
    pub subscriptions: Vec<Subscription>,
    /// Its logical replication slots, but for those that end with their session.
    pub slots: Vec<Slot>,
    /// Its prepared transactions, oldest first.
    pub prepared: Vec<Prepared>,
}

/// A subscription to another server's publications.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// Whether its worker is to be at work.
    pub enabled: bool,
    /// The slot at the publisher, if it has one.
    pub slot: Option<String>,
    /// The role it belongs to.
    pub owner: String,
    /// Whether the role may change it: its owner may, and superusers.
    pub ours: bool,
    /// Whether superusers alone may, as it asks for no password.
    pub superusers: bool,
}

/// A logical replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Who reads by it now: what it calls itself, and the number of the server's process.
    pub reader: Option<String>,
}

/// A transaction that was prepared and neither committed nor rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Prepared {
    /// The name it was given.
    pub gid: String,
    /// The role that prepared it.
    pub owner: String,
}

impl Ties {
    /// What has to be typed in the database before it can be dropped, if anything.
    #[must_use]
    pub fn first_dropped(&self) -> Option<String> {
        let lines: Vec<String> = self.subscriptions.iter().flat_map(Subscription::dropped).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

impl Subscription {
    /// Lets its worker rest.
    #[must_use]
    pub fn disabled(&self) -> String {
        format!("alter subscription {} disable", ident(&self.name))
    }

    /// Drops it and leaves the publisher's slot alone, in order and in one transaction.
    #[must_use]
    pub fn dropped(&self) -> [String; 3] {
        let name = ident(&self.name);
        [self.disabled(), format!("alter subscription {name} set (slot_name = none)"), format!("drop subscription {name}")]
    }
}

impl Prepared {
    /// The statements that end it, one way or the other.
    #[must_use]
    pub fn ended(&self) -> [String; 2] {
        [format!("commit prepared {}", literal(&self.gid)), format!("rollback prepared {}", literal(&self.gid))]
    }
}

impl Session {
    /// What ties the database of this name to others; nothing where there is none of that name.
    pub fn ties(&mut self, database: &str) -> Result<Ties> {
        let (version, superuser) = (self.server().version_num, self.server().superuser);
        let name = literal(database);
        let superusers = if version < 160_000 { "false" } else { "not s.subpasswordrequired" };
        // Release 10 brought subscriptions, and slots for a session.
        let subscriptions = if version < 100_000 {
            String::from("'[]'::json")
        } else {
            format!(
                "(select coalesce(json_agg(json_build_object('name', s.subname, 'enabled', s.subenabled, 'slot', s.subslotname,
                   'owner', pg_get_userbyid(s.subowner), 'superusers', {superusers},
                   'ours', pg_has_role(s.subowner, 'USAGE') and (not ({superusers}) or {superuser})) order by s.subname), '[]')
                 from pg_subscription s where s.subdbid = (select d.oid from pg_database d where d.datname = {name}))"
            )
        };
        let lasting = if version < 100_000 { "true" } else { "not r.temporary" };
        self.ask(&format!(
            "select json_build_object('subscriptions', {subscriptions},
               'slots', (select coalesce(json_agg(json_build_object('name', r.slot_name,
                   'reader', case when r.active then coalesce(nullif(a.application_name, '') || ', ', '') || 'pid ' || r.active_pid end)
                   order by r.slot_name), '[]')
                 from pg_replication_slots r left join pg_stat_activity a on a.pid = r.active_pid
                 where r.slot_type = 'logical' and r.database = {name} and {lasting}),
               'prepared', (select coalesce(json_agg(json_build_object('gid', p.gid, 'owner', p.owner) order by p.prepared), '[]')
                 from pg_prepared_xacts p where p.database = {name}))"
        ))
    }

    /// Whether the role may make subscriptions in a database of its own.
    pub fn makes_subscriptions(&mut self) -> Result<bool> {
        let server = self.server();
        if server.superuser || server.version_num < 160_000 {
            return Ok(server.superuser);
        }
        self.ask("select to_json(pg_has_role('pg_create_subscription', 'USAGE'))")
    }

    /// The subscriptions of the connected database that write into one of these tables, given as schema and name.
    pub fn subscribed(&mut self, tables: &[(&str, &str)]) -> Result<Vec<String>> {
        if tables.is_empty() || self.server().version_num < 100_000 {
            return Ok(Vec::new());
        }
        self.ask(&format!(
            "select coalesce(json_agg(distinct s.subname), '[]') from pg_subscription_rel r join pg_subscription s on s.oid = r.srsubid
             join pg_class c on c.oid = r.srrelid join pg_namespace n on n.oid = c.relnamespace
             join unnest({}, {}) w (space, name) on w.space = n.nspname and w.name = c.relname",
            texts(tables.iter().map(|(space, _)| *space)),
            texts(tables.iter().map(|(_, name)| *name)),
        ))
    }
}
