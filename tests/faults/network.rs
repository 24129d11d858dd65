//! Row 7: a network that drops everything during the dump.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::Setup;
use crate::dump::signal;
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
    // 60 s for the keepalives; the rest is what a slow machine may add. Left to itself TCP takes a quarter of an hour, or for ever.
    assert!(took < Duration::from_secs(150), "{took:?}: {told:?}");
}

/// A way to the server. While it is cut, what was under way is lost without a word to either side, and nobody comes through.
struct Way {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Way {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, cut) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let is_cut = Arc::clone(&cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(there) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to) in [(client.try_clone(), there.try_clone()), (Ok(there), Ok(client))] {
                    let (is_cut, from, to) = (Arc::clone(&is_cut), from.unwrap(), to.unwrap());
                    std::thread::spawn(move || pass(from, to, &is_cut));
                }
            }
        });
        Self { port, cut }
    }
}

/// Hands on what comes until the way is cut; then both ends stay open for good, and nothing moves.
fn pass(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer);
        if is_cut.load(Ordering::SeqCst) {
            std::thread::sleep(LONG);
            return;
        }
        match read {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).is_ok() => {}
            _ => {
                drop(to.shutdown(Shutdown::Both));
                return;
            }
        }
    }
}

/// The server goes on with sessions whose ends it has not heard of, and they hold the project's lock there: the next run knows them by the diary.
#[test]
fn f07_what_a_dead_network_left_on_the_server_keeps_no_next_run_away() {
    let mut scene = Scene::new("compression = \"zstd:19\"", "");
    scene.grow(20);
    let way = Way::to(scene.cluster.port);
    scene.connect(&format!("postgresql://postgres@127.0.0.1:{}/shop", way.port));
    scene.configure(5);
    let running = scene.start(&[]);
    scene.wait_at_the_server();
    way.cut.store(true, Ordering::SeqCst);
    signal(running.pid(), Signal::TERM);
    let ended = running.finish(LONG);
    assert_eq!(ended.code, 143, "{ended:?}");
    let left = || scene.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'");
    assert_eq!(left(), "2");
    way.cut.store(false, Ordering::SeqCst);
    let again = scene.backup();
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(left(), "0");
}
