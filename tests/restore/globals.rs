//! Roles and tablespaces that come before the database: what the server lacks is made, and nothing else is changed.

use crate::cluster::{Cluster, Setup};
use crate::scene::Scene;

const MADE: &str = "create role boss; create role app in role boss; create role evil; create role fresh in role boss;
    alter role evil set app.note to E'x\n;alter role evil superuser;\ngrant boss to evil;\n--'; alter role fresh set app.note to E'two\nlines';
    comment on role app is E'a comment;\nof two lines'; create table t (i int); alter table t owner to fresh";

/// A script cut at its lines would give whoever may set a value of their own the rights of whoever restores.
#[test]
fn what_is_there_of_roles_stays_as_it_is_and_settings_stay_data() {
    let scene = Scene::bare(Setup::default().start(), MADE);
    scene.configure("globals = true");
    scene.backup();
    // Since then one was taken out of the group, one gone.
    scene.cluster.psql("revoke boss from app; comment on role app is 'new'");
    scene.cluster.psql_in("shop", "drop owned by fresh; drop role fresh");
    let members = || {
        scene.cluster.psql(
            "select coalesce(string_agg(member::regrole || ' of ' || roleid::regrole, ', ' order by 1), '') from pg_auth_members
             where roleid = 'boss'::regrole",
        )
    };
    let ended = scene.restored("copy", &["--globals"]);
    assert_eq!(ended.stderr, "");
    assert_eq!(scene.cluster.psql("select rolsuper from pg_roles where rolname = 'evil'"), "f");
    assert_eq!(members(), "fresh of boss");
    let asked = "select (select setconfig[1] from pg_db_role_setting where setrole = 'fresh'::regrole) || shobj_description('app'::regrole, 'pg_authid')";
    assert_eq!(scene.cluster.psql(asked), "app.note=two\nlinesnew");
}

#[test]
fn a_tablespace_that_can_not_be_made_is_told_with_the_servers_words_before_anything_is() {
    let cluster = Setup::default().start();
    // The server makes its folder by itself.
    let folder = cluster.dir().join("fast").display().to_string();
    cluster.psql(&format!("copy (select) to program 'mkdir {folder}'"));
    cluster.psql(&format!("create tablespace fast location '{folder}'"));
    let scene = Scene::bare(cluster, "create role keeper; create table t (i int) tablespace fast");
    scene.configure("globals = true");
    scene.backup();
    // On the same machine the folder is another server's.
    let other = Cluster::start();
    let ended = scene.restore(&other.url("shop"), &["--globals"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    for words in [
        "lacks tablespaces that the backup names: fast",
        "--no-tablespaces",
        "already in use as a tablespace",
        "made for it stay: \"keeper\"\n",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    assert_eq!(other.psql("select count(*) from pg_database where datname ~ 'shop|pgdumpd'"), "0");
    let ended = scene.restored(&other.url("shop"), &["--globals", "--no-tablespaces"]);
    assert_eq!(ended.stderr, "", "nobody wants it");
    scene.cluster.psql("create role clerk login createdb");
    let ended = scene.restore("copy", &["--user", "clerk", "--no-owner"]);
    assert!(ended.code == 1 && ended.stderr.contains("GRANT CREATE ON TABLESPACE … to the role that restores"), "{ended:?}");
    scene.restored("copy", &["--user", "clerk", "--no-owner", "--no-tablespaces"]);
}
