//! What ALTER DEFAULT PRIVILEGES has set for objects that the connecting role makes in the connected database.
//!
//! Owns [`DefaultPrivilege`]. It never decides whether that matters; a restore into a database that is there tells it.

use serde::Deserialize;

use super::session::Session;
use crate::error::Result;

/// Privileges that a new object of a kind has, or lacks, other than by PostgreSQL's own rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DefaultPrivilege {
    /// `SELECT on TABLES in schema public to PUBLIC`, or `no EXECUTE on FUNCTIONS for PUBLIC`.
    pub said: String,
    /// The statement that ends it.
    pub undone: String,
}

impl Session {
    /// Those of the connecting role, by kind of object.
    pub fn default_privileges(&mut self) -> Result<Vec<DefaultPrivilege>> {
        self.ask(
            "with d as (select a.defaclobjtype as kind, a.defaclnamespace as space, a.defaclacl as acl, a.defaclrole as owner,
                 acldefault(case when a.defaclobjtype = 'S' then 's'::\"char\" else a.defaclobjtype end, a.defaclrole) as usual
               from pg_default_acl a where a.defaclrole = (select oid from pg_roles where rolname = current_user)),
             g as (select d.kind, d.space, e.grantee, e.privilege_type as privilege, true as more from d, aclexplode(d.acl) e
               where not exists (select 1 from aclexplode(d.usual) u where u.grantee = e.grantee and u.privilege_type = e.privilege_type)
               union all
               select d.kind, d.space, u.grantee, u.privilege_type, false from d, aclexplode(d.usual) u
               where d.space = 0 and not exists (select 1 from aclexplode(d.acl) e
                 where e.grantee = u.grantee and e.privilege_type = u.privilege_type)),
             s as (select g.more, string_agg(g.privilege, ', ' order by g.privilege) as privileges,
                 case g.kind when 'r' then 'TABLES' when 'S' then 'SEQUENCES' when 'f' then 'FUNCTIONS' when 'T' then 'TYPES'
                   when 'n' then 'SCHEMAS' else 'LARGE OBJECTS' end as kind,
                 (select 'in schema ' || quote_ident(n.nspname) || ' ' from pg_namespace n where n.oid = g.space) as place,
                 case when g.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(g.grantee)) end as who
               from g group by g.more, g.kind, g.space, g.grantee)
             select coalesce(json_agg(json_build_object(
                 'said', case when more then '' else 'no ' end || privileges || ' on ' || kind || ' ' || coalesce(place, '')
                   || case when more then 'to ' else 'for ' end || who,
                 'undone', 'alter default privileges ' || coalesce(place, '') || case when more then 'revoke ' else 'grant ' end || privileges
                   || ' on ' || kind || case when more then ' from ' else ' to ' end || who) order by kind, place, who), '[]') from s",
        )
    }
}
