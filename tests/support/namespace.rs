//! A network of one's own: a namespace joined to this one by a pair of interfaces, in which packets can be made to vanish.
#![expect(clippy::disallowed_methods, reason = "the network is changed from outside of pgdumpd")]

use std::process::Command;

/// The namespace; gone when dropped.
pub(crate) struct Namespace {
    /// Its name, for `ip netns exec`.
    pub(crate) name: String,
    /// This side's address.
    here: String,
    /// Its own.
    pub(crate) there: String,
}

fn ip(line: &str) -> bool {
    Command::new("ip").args(line.split(' ')).output().is_ok_and(|output| output.status.success())
}

impl Namespace {
    /// Makes it; `None` where this machine or user can't.
    pub(crate) fn new() -> Option<Self> {
        if !crate::cluster::is_root() {
            return None;
        }
        let id = std::process::id();
        let (name, link, peer) = (format!("pgd{id}"), format!("pa{id}"), format!("pb{id}"));
        let net = format!("10.{}.{}", 28 + id / 256 % 200, id % 256);
        if !ip(&format!("netns add {name}")) {
            return None;
        }
        let made = Self { name, here: format!("{net}.1"), there: format!("{net}.2") };
        let Self { name, here, there } = &made;
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

    /// Whether what comes back from there vanishes on the way, and nobody is told.
    pub(crate) fn silent(&self, yes: bool) {
        let verb = if yes { "add" } else { "del" };
        assert!(ip(&format!("-n {} route {verb} blackhole {}/32", self.name, self.here)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}
