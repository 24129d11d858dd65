//! Row 7: a network that drops everything during the dump.

use std::time::{Duration, Instant};

use crate::cluster::Setup;
use crate::namespace::Namespace;
use crate::scene::{LONG, Scene};
use crate::skip::skip;

#[test]
fn f07_network_drops_everything_during_the_dump() {
    let Some(namespace) = Namespace::new() else {
        return skip("f07_network_drops_everything_during_the_dump", "needs root, iproute2 and network namespaces");
    };
    let cluster = Setup::default().namespace(&namespace.name).hba("host all all all trust").start();
    let mut scene = Scene::bare(cluster, "compression = \"zstd:19\"", "");
    let url = format!("postgresql://postgres@{}:{}/shop", namespace.there, scene.cluster.port);
    scene.connect(&url);
    scene.two_good_backups();
    scene.grow(40);
    let before = scene.look();
    let running = scene.start(&[]);
    scene.wait_for_copy();
    namespace.silent(true);
    let cut = Instant::now();
    let ended = running.finish(LONG);
    let took = cut.elapsed();
    let told = scene.std(&before, &ended, "connection-lost", 1, || {
        namespace.silent(false);
        scene.cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgdumpd/%'");
        scene.shrink();
    });
    // 60 s for the keepalives; the rest is what a slow machine may add.
    assert!(took < Duration::from_secs(90), "{took:?}: {told:?}");
}
