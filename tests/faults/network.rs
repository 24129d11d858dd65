//! Row 7: a network that drops everything during the dump.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::{Setup, is_root};
use crate::scene::{LONG, Scene};
use crate::skip::skip;

/// A network namespace joined to this one by a pair of interfaces; gone when dropped.
struct Namespace {
    name: String,
    here: String,
    there: String,
}

fn ip(line: &str) -> bool {
    Command::new("ip").args(line.split(' ')).output().is_ok_and(|output| output.status.success())
}

impl Namespace {
    fn new() -> Option<Self> {
        let id = std::process::id();
        let (name, link, peer) = (format!("pgf{id}"), format!("fa{id}"), format!("fb{id}"));
        let net = format!("10.{}.{}", 28 + id / 256 % 100, id % 256);
        let made = Self { name: name.clone(), here: format!("{net}.1"), there: format!("{net}.2") };
        let steps = [
            format!("netns add {name}"),
            format!("link add {link} type veth peer name {peer} netns {name}"),
            format!("addr add {}/30 dev {link}", made.here),
            format!("link set {link} up"),
            format!("-n {name} addr add {}/30 dev {peer}", made.there),
            format!("-n {name} link set {peer} up"),
            format!("-n {name} link set lo up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(made)
    }

    /// Whether what comes back from there vanishes on the way.
    fn silent(&self, yes: bool) {
        let verb = if yes { "add" } else { "del" };
        assert!(ip(&format!("-n {} route {verb} blackhole {}/32", self.name, self.here)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

#[test]
fn f07_network_drops_everything_during_the_dump() {
    let namespace = if is_root() { Namespace::new() } else { None };
    let Some(namespace) = namespace else {
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
