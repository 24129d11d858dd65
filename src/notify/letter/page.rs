//! Words, numbers and lines of a mail: times in two zones, sizes, ages, paragraphs wrapped for a terminal.
//!
//! Owns [`Page`], which a letter is written on. It knows nothing of backups but how a [`LastGood`] is described.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{About, Hands, LastGood, Next};
use crate::model::backup::ProofLevel;
use crate::model::dump::is_script;
use crate::shell::turns;
use crate::units;

/// Prose is wrapped at this many characters; commands and paths never are.
const WIDTH: usize = 76;

/// A blank between a number and its unit, where no line may break; written as a plain blank.
const JOINT: char = '\u{a0}';

/// A mail's body in the making: paragraphs, commands and tables, one blank line between them.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Prose, wrapped.
    pub(super) fn prose(&mut self, text: &str) -> &mut Self {
        self.gap();
        for line in wrap(text, WIDTH) {
            self.line(&line);
        }
        self
    }

    /// A heading with lines right below it, each indented and kept whole.
    pub(super) fn block(&mut self, heading: &str, lines: &[String]) -> &mut Self {
        if lines.is_empty() {
            return self;
        }
        self.gap();
        for line in wrap(heading, WIDTH) {
            self.line(&line);
        }
        for line in lines {
            self.line(&format!("  {line}"));
        }
        self
    }

    /// A heading with `name  value` lines in two columns; long values go on below themselves.
    pub(super) fn table(&mut self, heading: &str, rows: &[(&str, String)]) -> &mut Self {
        let column = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for (name, value) in rows {
            for (at, part) in wrap(value, WIDTH - column - 4).iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                lines.push(format!("{name:column$}  {part}"));
            }
        }
        self.block(heading, &lines)
    }

    /// Lines to type in two columns, each whole however long.
    pub(super) fn commands(&mut self, rows: &[(&str, String)]) -> &mut Self {
        let column = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> = rows.iter().map(|(name, line)| format!("{name:column$}  {line}")).collect();
        self.block("What to type", &lines)
    }

    /// A program's own words, quoted as mail quotes.
    pub(super) fn quote(&mut self, heading: &str, text: &str, last_lines: usize) -> &mut Self {
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let from = lines.len().saturating_sub(last_lines);
        let quoted: Vec<String> = lines[from..].iter().map(|line| format!("| {}", cut(line, 400))).collect();
        self.block(heading, &quoted)
    }

    /// The finished text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn gap(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(printable(line).replace(JOINT, " ").trim_end());
        self.0.push('\n');
    }
}

/// Control characters other than a tab would let a server draw on the reader's terminal, others turn what stands beside them.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' || turns(c) { '?' } else { c }).collect()
}

/// Words in lines of at most `width` characters; a longer word stands alone on its line.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split([' ', '\n', '\t']).filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

/// At most `most` characters, with `…` where something was left out.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// `1st`, `2nd`, `11th`.
pub(super) fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// `1 backup`, `2 backups`.
pub(super) fn count(number: usize, what: &str) -> String {
    units::show_count(number as u64, what)
}

/// `2026-11-21 02:15 CET (01:15 UTC)`, with the date in UTC where it is another one.
pub(super) fn time(at: DateTime<Utc>, zone: Tz) -> String {
    let local = at.with_timezone(&zone);
    if zone == Tz::UTC {
        return local.format("%Y-%m-%d %H:%M\u{a0}UTC").to_string();
    }
    let utc = if local.date_naive() == at.date_naive() { at.format("%H:%M\u{a0}UTC") } else { at.format("%Y-%m-%d %H:%M\u{a0}UTC") };
    format!("{} ({utc})", local.format("%Y-%m-%d %H:%M\u{a0}%Z"))
}

/// `3 days 4 h`, kept on one line.
pub(super) fn span(length: Duration) -> String {
    joined(&units::show_age(length))
}

/// The time from `then` to `now`; a backup from the future is zero old.
pub(super) fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    span((now - then).to_std().unwrap_or_default())
}

/// `1.2 GiB`, kept on one line.
pub(super) fn size(bytes: u64) -> String {
    joined(&units::show_size(bytes))
}

/// Text that no line may break.
fn joined(text: &str) -> String {
    text.replace(' ', &JOINT.to_string())
}

/// A level of proof, for someone who never heard of levels.
fn proof(level: ProofLevel, file: &str) -> &'static str {
    match level {
        ProofLevel::Read if is_script(file) => "it was read to its closing lines",
        ProofLevel::Whole => "complete when it was written; not read back since",
        ProofLevel::Checksum => "its stored bytes were read back and are intact",
        ProofLevel::Read => "pg_restore read it from beginning to end",
        ProofLevel::Restored => "it was restored and its rows were counted",
    }
}

/// What there is to fall back on.
pub(super) fn fallback(backup: &LastGood, about: &About) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("taken", format!("{}, {} ago", time(backup.taken_at, about.zone), age(backup.taken_at, about.now))),
        ("size", size(backup.size)),
        ("proof", format!("{} ({})", proof(backup.proof, &backup.file), time(backup.proven_at, about.zone))),
        ("file", backup.file.clone()),
    ];
    rows.extend(backup.server.as_ref().map(|server| ("from", server.clone())));
    rows
}

/// ` of DATABASE`, or nothing where it is called like its project and the sentence names that.
pub(super) fn of(database: &str, about: &About) -> String {
    if database == about.project { String::new() } else { format!(" of {database}") }
}

/// What comes by itself, as a sentence.
pub(super) fn next(next: &Next, about: &About) -> String {
    match next {
        Next::Slot { .. } if about.hands == Hands::Nobody => {
            String::from("No daemon serves here, so no schedule fires: the next try is made when pgdumpd is started again.")
        }
        Next::Slot { at, schedule } => {
            format!("The next try is at {}, by schedule {schedule}.", time(*at, about.zone))
        }
        Next::Nothing(why) => format!("Nothing happens by itself: {why}."),
    }
}

/// How often a mail comes again while things stay as they are.
pub(super) fn repeats(reminder: Duration, about: &About) -> String {
    match about.hands {
        Hands::Daemon => format!("This mail repeats every {}", span(reminder)),
        Hands::Nobody => format!("Each time pgdumpd is started, this mail may repeat, every {} at most,", span(reminder)),
    }
}

/// `pgdumpd VERB`, with the configuration file where it isn't at its usual place.
pub(super) fn command(about: &About, words: &[&str]) -> String {
    with_config(about.config.as_deref(), words)
}

/// The same for what is no project's.
pub(super) fn with_config(config: Option<&str>, words: &[&str]) -> String {
    let mut line = String::from("pgdumpd");
    if let Some(config) = config {
        line.push_str(" --config ");
        line.push_str(&shell(config));
    }
    for word in words {
        line.push(' ');
        line.push_str(&shell(word));
    }
    line
}

/// A word of a line to paste.
pub(super) fn shell(word: &str) -> String {
    crate::shell::word(&super::single_line(word))
}

/// A failure's sentence after a colon: it keeps its small letter and gets a full stop.
pub(super) fn stopped(text: &str) -> String {
    let text = super::single_line(text);
    if text.ends_with(['.', '!', '?', '…', ';']) { text } else { format!("{text}.") }
}

/// A failure's sentence on its own: a capital and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let text = super::single_line(text);
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return text };
    // `pg_dump ended…` keeps its name as it is written.
    let keep = text.split(' ').next().is_some_and(|word| word.contains(['_', '.', '/', ':']) || word == "pgdumpd" || word == "psql");
    let head = if keep { first.to_string() } else { first.to_uppercase().to_string() };
    stopped(&format!("{head}{}", characters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn numbers_and_times_are_words() {
        let numbers = [1, 2, 3, 4, 11, 12, 13, 21, 101, 111];
        assert_eq!(numbers.map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "101st", "111th"]);
        let at = Utc.with_ymd_and_hms(2026, 11, 20, 23, 15, 0).unwrap();
        assert_eq!(time(at, Tz::Europe__Berlin).replace(JOINT, " "), "2026-11-21 00:15 CET (2026-11-20 23:15 UTC)");
        assert_eq!(time(at, Tz::UTC).replace(JOINT, " "), "2026-11-20 23:15 UTC");
        assert_eq!(printable("database evil\u{202e}gpj\tof \u{1b}[1mx"), "database evil?gpj\tof ?[1mx");
        let mut page = Page::default();
        page.prose(&format!("{} {}", "x".repeat(WIDTH - 2), span(Duration::from_secs(7200))));
        assert!(page.finish().ends_with("\n2 h\n"));
    }

    #[test]
    fn a_pasted_command_means_what_it_says() {
        assert_eq!(shell("shop"), "shop");
        assert_eq!(shell("a b; rm -rf '~'"), "'a b; rm -rf '\\''~'\\'''");
        assert_eq!(shell("$(x)\nrm"), "'$(x) rm'");
    }

    #[test]
    fn a_server_cannot_draw_on_the_terminal() {
        let mut page = Page::default();
        page.quote("said", "a\u{1b}[2Jb\n\n  c", 5);
        assert_eq!(page.finish(), "said\n  | a?[2Jb\n  |   c\n");
    }
}
