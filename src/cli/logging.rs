//! Log lines on standard error: text for people and journald (which adds the time itself), or JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::clock::Clock;
use crate::model::settings::LogFormat;

use super::Common;

/// Time in UTC with milliseconds, read from the clock.
struct Stamp(Clock);

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", self.0.now().format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

/// The level asked for: `usual`, or more with each `--verbose`.
pub(super) fn level<'a>(common: &Common, usual: &'a str) -> &'a str {
    match common.verbose {
        0 => usual,
        1 if usual == "off" => "info",
        _ => "debug",
    }
}

/// Starts logging. `RUST_LOG` overrules the level; under journald (`JOURNAL_STREAM`) lines carry no time of their own.
pub(super) fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("pgdumpd={level},warn")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let stamp = Stamp(Clock::system());
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_timer(stamp).try_init(),
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => builder.without_time().try_init(),
        LogFormat::Text => builder.with_timer(stamp).try_init(),
    };
    // A second start in one process changes nothing.
    drop(started);
}
