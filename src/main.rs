//! The `pgdumpd` binary: hands argv to `cli` and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgdumpd::cli::main()
}
