//! What a child says on stderr: the last 8 KiB, read by a thread so that the child never waits for us.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Called with each line of stderr, without its end; lines longer than 8 KiB come in pieces.
pub type LineHook = Box<dyn FnMut(&str) + Send>;

/// How much is kept, bytes.
const KEPT: usize = 8 * 1024;

/// How long the end of stderr is waited for once the child is gone: a stranger that left its group may still hold it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The end of a child's stderr.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    cut: bool,
    closed: bool,
}

impl Tail {
    /// Starts reading; the thread ends with the stream.
    pub(super) fn follow(mut stream: impl Read + Send + 'static, hook: Option<LineHook>) -> std::io::Result<Self> {
        let tail = Self::default();
        let mine = tail.clone();
        let mut lines = hook.map(|hook| Lines { hook, line: Vec::new() });
        std::thread::Builder::new().name(String::from("stderr")).stack_size(256 * 1024).spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(count) => {
                        mine.keep(&chunk[..count]);
                        if let Some(lines) = &mut lines {
                            lines.push(&chunk[..count]);
                        }
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            if let Some(lines) = &mut lines {
                lines.flush();
            }
            mine.0.state.lock().closed = true;
            mine.0.closed.notify_all();
        })?;
        Ok(tail)
    }

    fn keep(&self, chunk: &[u8]) {
        let mut state = self.0.state.lock();
        state.bytes.extend(chunk);
        if state.bytes.len() > KEPT {
            let surplus = state.bytes.len() - KEPT;
            state.bytes.drain(..surplus);
            state.cut = true;
        }
    }

    /// What is kept, as whole lines where the beginning was cut off. With `ended`, waits up to a second for the last of it.
    pub(super) fn text(&self, ended: bool) -> String {
        let mut state = self.0.state.lock();
        let deadline = Instant::now() + LAST_WORDS;
        while ended && !state.closed {
            if self.0.closed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let cut = state.cut;
        let bytes = state.bytes.make_contiguous();
        let from = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) if cut => end + 1,
            _ => 0,
        };
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }
}

struct Lines {
    hook: LineHook,
    line: Vec<u8>,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) {
        for byte in chunk {
            if *byte == b'\n' || self.line.len() >= KEPT {
                self.flush();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            (self.hook)(String::from_utf8_lossy(&self.line).trim_end_matches('\r'));
            self.line.clear();
        }
    }
}
