//! Log lines on standard error: text for people, the same with priorities for the journal (which adds the time itself), or JSON.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::model::settings::LogFormat;

use super::Common;

/// Time in UTC with milliseconds, read from the clock.
struct Stamp(Clock);

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
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

/// One event, one line, whatever a name or a server's words hold: with time and level, or, for the journal, with the priority that
/// systemd reads from a line's beginning (sd-daemon(3)).
enum Lines {
    Timed(Stamp),
    Journal,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        match self {
            Self::Timed(stamp) => {
                stamp.format_time(&mut writer)?;
                write!(writer, " {level:>5} ")?;
            }
            Self::Journal => write!(writer, "<{}>", priority(level))?,
        }
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        for part in text.split_inclusive(char::is_control) {
            match part.chars().next_back().filter(|last| last.is_control()) {
                Some(last) => write!(writer, "{}{}", &part[..part.len() - last.len_utf8()], last.escape_default())?,
                None => writer.write_str(part)?,
            }
        }
        writeln!(writer)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Starts logging. `RUST_LOG` overrules the level.
pub(super) fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("pgdumpd={level},warn")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let stamp = Stamp(Clock::system());
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_timer(stamp).try_init(),
        LogFormat::Text if to_journal() => builder.event_format(Lines::Journal).try_init(),
        LogFormat::Text => builder.event_format(Lines::Timed(stamp)).try_init(),
    };
    // A second start in one process changes nothing.
    drop(started);
}

/// Whether standard error is the very stream that systemd connected to the journal; the variable alone is inherited by anybody.
fn to_journal() -> bool {
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}
