//! A network that drops everything: session and dump end within the keepalive bound of 60 s.
#![expect(clippy::disallowed_methods, reason = "the network is changed from outside of pgdumpd")]

use std::process::Command;
use std::time::{Duration, Instant};

use pgdumpd::error::Cause;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::process;

use crate::cluster::{Setup, is_root};
use crate::support::{access, dump_command, open};

/// A network namespace joined to this one by a pair of interfaces.
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
        let (name, link, peer) = (format!("pgd{id}"), format!("pa{id}"), format!("pb{id}"));
        let net = format!("10.{}.{}", 128 + id / 256 % 100, id % 256);
        let (here, there) = (format!("{net}.1"), format!("{net}.2"));
        if !ip(&format!("netns add {name}")) {
            return None;
        }
        let made = Self { name: name.clone(), here: here.clone(), there: there.clone() };
        let steps = [
            format!("link add {link} type veth peer name {peer} netns {name}"),
            format!("addr add {here}/30 dev {link}"),
            format!("link set {link} up"),
            format!("-n {name} addr add {there}/30 dev {peer}"),
            format!("-n {name} link set {peer} up"),
            format!("-n {name} link set lo up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(made)
    }

    /// From now on nothing comes back from there, and nobody is told.
    fn go_silent(&self) {
        assert!(ip(&format!("-n {} route add blackhole {}/32", self.name, self.here)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

#[test]
fn f07_a_dead_network_ends_session_and_dump_within_a_minute() {
    let namespace = if is_root() { Namespace::new() } else { None };
    let Some(namespace) = namespace else {
        eprintln!("SKIPPED f07_a_dead_network: needs root, iproute2 and network namespaces");
        return;
    };
    let cluster = Setup::default().namespace(&namespace.name).hba("host all all all trust").start();
    cluster.psql("create table t (n int)");
    let url = format!("postgresql://postgres@{}:{}/postgres", namespace.there, cluster.port);
    let (ours, theirs) =
        (access(&url), access(&format!("{url}?keepalives_idle=2&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=4000")));
    let mut session = open(&ours, None).unwrap();
    assert_eq!(session.server().reached.address.as_deref(), Some(namespace.there.as_str()));
    let mut holder =
        cluster.psql_command("postgres").args(["-c", "begin", "-c", "lock table t", "-c", "select pg_sleep(120)"]).spawn().unwrap();
    cluster.wait_until("exists (select from pg_locks where relation = 't'::regclass)");
    let mut command = dump_command(&ours, &session, &DumpShape::default());
    // Without its own bound on locks, so that only the network can end it.
    command.args.retain(|arg| !arg.to_string_lossy().starts_with("--lock-wait-timeout"));
    let mut child = process::spawn(&command).unwrap();
    let mut quick = process::spawn(&dump_command(&theirs, &session, &DumpShape::default())).unwrap();
    cluster.wait_until("2 = (select count(*) from pg_locks where relation = 't'::regclass and not granted)");
    namespace.go_silent();
    let started = Instant::now();
    assert_eq!(quick.wait_timeout(Duration::from_secs(15)), Some(process::Exit::Code(1)), "the target's own keepalives don't count");
    let failure = session.database_size().unwrap_err();
    assert_eq!(failure.cause, Cause::ConnectionLost, "{failure:?}");
    assert_eq!(child.wait_timeout(Duration::from_secs(60)), Some(process::Exit::Code(1)));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(open(&ours, None).is_err_and(|failure| failure.cause == Cause::Connection));
    holder.kill().unwrap();
    holder.wait().unwrap();
}
