//! Real children: sh, sleep, cat.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn sh(script: &str) -> Spec {
    let mut spec = Spec::new("/bin/sh");
    spec.args = vec!["-c".into(), script.into()];
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    spec
}

fn gone(pid: u32) -> bool {
    let end = Instant::now() + 5 * SECOND;
    while identity(pid).is_some() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Reads the numbers that a script prints, one a line.
fn first_number(child: &mut Child) -> u32 {
    let mut stdout = child.take_stdout().unwrap();
    let mut text = String::new();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        text.push(char::from(byte[0]));
    }
    text.parse().unwrap()
}

#[test]
fn exit_status_and_signal_are_told_apart() {
    assert_eq!(spawn(&sh("exit 3")).unwrap().wait(), Exit::Code(3));
    let killed = spawn(&sh("kill -9 $$")).unwrap().wait();
    assert_eq!(killed, Exit::Signal(9));
    assert_eq!(killed.to_string(), "signal 9 (SIGKILL)");
    assert_eq!(Exit::Code(1).to_string(), "exit status 1");
}

#[test]
fn nothing_of_our_environment_reaches_the_child() {
    let mut spec = Spec::new("/usr/bin/env");
    spec.env = vec![("ONLY".into(), "this".into())];
    let finished = run(&spec, b"", 5 * SECOND, 4096).unwrap();
    assert_eq!(String::from_utf8(finished.stdout).unwrap(), "ONLY=this\n");
}

#[test]
fn a_missing_program_is_a_missing_client() {
    let failure = spawn(&Spec::new("/nonexistent/pg_dump")).unwrap_err();
    assert_eq!(failure.cause, Cause::ClientMissing);
    assert!(failure.message.contains("/nonexistent/pg_dump"), "{failure}");
    assert!(failure.hint.is_some());
}

#[test]
fn terminate_ends_the_whole_group_politely() {
    let mut spec = sh("sleep 600 & echo $!; wait");
    spec.stdout = Output::Piped;
    let mut child = spawn(&spec).unwrap();
    let grandchild = first_number(&mut child);
    let begun = Instant::now();
    assert_eq!(child.terminate(5 * SECOND), Exit::Signal(15));
    assert!(begun.elapsed() < 3 * SECOND);
    assert!(gone(grandchild), "the grandchild lives on");
}

#[test]
fn a_child_that_ignores_term_is_killed_after_the_grace() {
    let mut spec = sh("trap '' TERM; echo 1; while :; do sleep 0.05; done");
    spec.stdout = Output::Piped;
    let mut child = spawn(&spec).unwrap();
    first_number(&mut child);
    let begun = Instant::now();
    assert_eq!(child.terminate(Duration::from_millis(300)), Exit::Signal(9));
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_stopped_child_ends_by_term_alone() {
    let mut child = spawn(&sh("exec sleep 600")).unwrap();
    let stopped = child.identity();
    std::thread::sleep(Duration::from_millis(100));
    assert!(stopped.kill(Signal::STOP).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    let begun = Instant::now();
    assert_eq!(child.terminate(20 * SECOND), Exit::Signal(15));
    assert!(begun.elapsed() < 5 * SECOND, "it was not woken");
}

#[test]
fn dropping_a_child_kills_and_reaps_it_and_its_group() {
    let mut spec = sh("sleep 600 & echo $!; wait");
    spec.stdout = Output::Piped;
    let mut child = spawn(&spec).unwrap();
    let (leader, grandchild) = (child.pid(), first_number(&mut child));
    drop(child);
    assert!(!std::path::Path::new(&format!("/proc/{leader}")).exists(), "not reaped");
    assert!(gone(grandchild));
}

#[test]
fn a_child_that_ends_takes_the_rest_of_its_group_with_it() {
    let mut spec = sh("sleep 600 >/dev/null & echo $!; exit 0");
    spec.stdout = Output::Piped;
    let mut child = spawn(&spec).unwrap();
    let grandchild = first_number(&mut child);
    assert_eq!(child.wait(), Exit::Code(0));
    assert!(gone(grandchild), "an orphan was left");
}

#[test]
fn stderr_is_bounded_and_its_lines_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook: LineHook = Box::new({
        let told = Arc::clone(&told);
        move |line: &str| told.lock().push(line.to_owned())
    });
    let mut child =
        spawn_watched(&sh("i=0; while [ $i -lt 2000 ]; do echo \"line $i\" >&2; i=$((i+1)); done; printf last >&2"), Some(hook)).unwrap();
    child.wait();
    let tail = child.stderr_tail();
    assert!(tail.len() <= 8192 && tail.len() > 8000, "{}", tail.len());
    assert!(tail.starts_with("line "), "begins within a line: {:?}", &tail[..20]);
    assert!(tail.ends_with("line 1999\nlast"));
    let told = told.lock();
    assert_eq!(told.len(), 2001);
    assert_eq!((told[0].as_str(), told[2000].as_str()), ("line 0", "last"));
}

#[test]
fn a_descriptor_reaches_only_the_child_it_is_meant_for() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let writer: Arc<OwnedFd> = Arc::new(writer);
    let mut spec = sh("echo inherited >&7");
    spec.inherit = vec![(Arc::clone(&writer), 7)];
    let pipe = format!("pipe:[{}]", rustix::fs::fstat(&*writer).unwrap().st_ino);
    let other = run(&sh("ls -l /proc/self/fd/"), b"", 5 * SECOND, 1 << 16).unwrap();
    let other = String::from_utf8(other.stdout).unwrap();
    assert!(other.contains(" 2 -> ") && !other.contains(&pipe), "it leaked: {other}");
    assert_eq!(spawn(&spec).unwrap().wait(), Exit::Code(0));
    drop((spec, writer));
    let mut text = String::new();
    std::fs::File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "inherited\n");
}

#[test]
fn run_feeds_and_collects_more_than_a_pipe_holds() {
    let mut cat = Spec::new("/bin/cat");
    cat.env = vec![];
    let input = vec![b'x'; 3 << 20];
    let finished = run(&cat, &input, 20 * SECOND, 4 << 20).unwrap();
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(finished.stdout.len(), input.len());
}

#[test]
fn run_is_bounded_in_time_and_in_output() {
    let begun = Instant::now();
    let slow = run(&sh("echo waiting >&2; exec sleep 600"), b"", Duration::from_millis(200), 4096).unwrap_err();
    assert_eq!(slow.cause, Cause::TimeLimit);
    assert_eq!(slow.message, "sh was not done within 200ms and was ended");
    assert_eq!(slow.detail.as_deref(), Some("waiting\n"));
    let endless = run(&Spec::new("/usr/bin/yes"), b"", 20 * SECOND, 1000).unwrap_err();
    assert!(endless.message.contains("more than 1000 bytes"), "{endless}");
    assert!(begun.elapsed() < 10 * SECOND);
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("a bad sector"))
    }
}

#[test]
fn a_program_that_reads_nothing_more_is_ended_when_its_time_is_over_or_that_is_wanted() {
    let deaf = || sh("exec sleep 15");
    let begun = Instant::now();
    let late = run_fed(&deaf(), &mut std::io::repeat(b'x').take(1 << 20), Duration::from_millis(200), &Cancel::new()).unwrap_err();
    assert_eq!(late.cause, Cause::TimeLimit);
    let cancel = Cancel::new();
    let unwanted = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            cancel.cancel(CancelReason::Interrupted);
        });
        run_fed(&deaf(), &mut std::io::repeat(b'x').take(1 << 20), 60 * SECOND, &cancel).unwrap_err()
    });
    assert_eq!(unwanted.cause, Cause::Interrupted);
    assert!(begun.elapsed() < 10 * SECOND);
    // What it can be fed, it gets to the end; what can't be read is told as that.
    let whole = run_fed(&sh("[ $(wc -c) = 3000000 ]"), &mut std::io::repeat(b'x').take(3_000_000), 20 * SECOND, &Cancel::new()).unwrap();
    assert_eq!(whole.exit, Exit::Code(0));
    let broken = run_fed(&sh("cat >/dev/null; exec sleep 15"), &mut Broken, 20 * SECOND, &Cancel::new()).unwrap_err();
    assert_eq!(broken.message, "feeding sh: a bad sector");
}

#[test]
fn input_can_be_written_and_ended_by_hand() {
    let mut spec = sh("read a; read b; echo $b$a");
    (spec.stdin, spec.stdout) = (Input::Piped, Output::Piped);
    let mut child = spawn(&spec).unwrap();
    child.take_stdin().unwrap().write_all(b"1\n2\n").unwrap();
    assert_eq!(first_number(&mut child), 21);
    assert_eq!(child.wait_timeout(5 * SECOND), Some(Exit::Code(0)));
}

#[test]
fn cancelling_wakes_waiters_and_children_and_keeps_the_first_reason() {
    let parent = Cancel::new();
    let child = parent.child();
    let waiter = std::thread::spawn({
        let child = child.clone();
        move || child.wait_timeout(30 * SECOND)
    });
    assert_eq!(parent.wait_timeout(Duration::from_millis(10)), None);
    parent.cancel(CancelReason::Interrupted);
    parent.cancel(CancelReason::Cancelled);
    assert_eq!(waiter.join().unwrap(), Some(CancelReason::Interrupted));
    assert_eq!(parent.child().reason(), Some(CancelReason::Interrupted), "a late child is born cancelled");
    let alone = Cancel::new();
    alone.child().cancel(CancelReason::LockLost);
    assert!(!alone.is_cancelled(), "a child cancelled its parent");
}

#[test]
fn what_outlasts_a_cancelled_token_ends_after_its_span() {
    let (cancel, long) = (Cancel::new(), Duration::from_secs(60));
    assert_eq!(cancel.outlasted(Duration::ZERO, Cancel::reason), None, "nobody has asked for the end");
    cancel.cancel(CancelReason::Signalled("SIGTERM"));
    assert_eq!(cancel.outlasted(long, Cancel::reason), None, "it has its time");
    let waited = cancel.outlasted(Duration::from_millis(20), |late| late.wait_timeout(long));
    assert_eq!(waited, Some(CancelReason::Signalled("SIGTERM")));
}

/// What goes through a pipe by the kernel's 4 KiB otherwise, as seen by whoever traces it.
#[test]
fn much_goes_through_pipes_in_large_pieces() {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let path = trace.path().display();
    let mut spec = sh(&format!("exec strace -qq -e trace=write -o '{path}' seq 200000"));
    (spec.stdout, spec.bulk) = (Output::Piped, true);
    let mut child = spawn(&spec).unwrap();
    let length = std::io::copy(&mut child.take_stdout().unwrap(), &mut std::io::sink()).unwrap();
    assert_eq!((child.wait_timeout(10 * SECOND), length), (Some(Exit::Code(0)), 1_288_895));
    let traced = std::fs::read_to_string(&trace).unwrap();
    assert!(traced.contains("= 262144"), "{traced}");
    spec.env.push(("LD_PRELOAD".into(), "".into()));
    assert!(buffers::variables(&spec).is_empty(), "somebody else's choice stays");
}
