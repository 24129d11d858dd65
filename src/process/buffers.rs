//! Larger buffers for the standard streams of a child through which much goes.
//!
//! The C library reads and writes a pipe by the 4 KiB that the kernel names as its block, and each piece may wake whoever waits at the other
//! end. Only the program itself can choose otherwise, before its first byte; GNU coreutils has a library that does it on its behalf, and a
//! command that names it to the loader (coreutils manual, "stdbuf: Run a command with modified I/O stream buffering"). The same variables
//! are set here, without the command in between. Where there is no such library, nothing changes but the speed.

use std::ffi::OsString;
use std::path::Path;

use super::{Input, Output, Spec};

/// Where distributions put the library.
const LIBRARIES: [&str; 3] =
    ["/usr/libexec/coreutils/libstdbuf.so", "/usr/lib/coreutils/libstdbuf.so", "/usr/lib64/coreutils/libstdbuf.so"];

/// Bytes of each buffer: `pg_dump` and `pg_restore` are as fast with 64 KiB as with 1 MiB.
const SIZE: &str = "262144";

/// The variables that give a child larger buffers for the pipes it gets; none where that can't be had.
pub(super) fn variables(spec: &Spec) -> Vec<(OsString, OsString)> {
    let streams = [(spec.stdin == Input::Piped, "_STDBUF_I"), (spec.stdout == Output::Piped, "_STDBUF_O")];
    let mut set: Vec<(OsString, OsString)> =
        streams.into_iter().filter(|(piped, _)| *piped).map(|(_, name)| (name.into(), SIZE.into())).collect();
    let library = LIBRARIES.into_iter().find(|path| Path::new(path).is_file());
    let taken = spec.env.iter().any(|(name, _)| name == "LD_PRELOAD");
    match library {
        Some(library) if !set.is_empty() && !taken => set.push(("LD_PRELOAD".into(), library.into())),
        _ => set.clear(),
    }
    set
}
