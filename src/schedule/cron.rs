//! A crontab line as sets of numbers, and the next wall-clock reading that it matches. Knows nothing of zones: `zoned` does.
//!
//! Five fields, six with the seconds first, or `@daily` and kin. Lines that can never come due are refused here.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use super::field::{self, Field, Star};

/// No crontab line has a longer pause: 29 February on a given weekday comes at most 40 years apart.
const HORIZON_YEARS: i32 = 41;

/// A parsed crontab line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is bit 0.
    weekdays: u64,
    join: DayJoin,
    hour: HourKind,
}

/// How day of month and day of week go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayJoin {
    /// One of them begins with `*`: both must match.
    And,
    /// Both are restricted: one match is enough, as crontab(5) has it.
    Or,
}

/// How the hour was written, which decides what happens around a clock change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HourKind {
    /// Numbers, lists and ranges: once per reading of the wall clock.
    Fixed,
    /// `*` or `*/n`: follows elapsed time.
    Elapsed,
}

impl Cron {
    /// Reads a crontab line; the error is a sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let expanded = expand(text)?;
        let mut fields: Vec<&str> = expanded.split_whitespace().collect();
        match fields.len() {
            5 => fields.insert(0, "0"),
            6 => {}
            0 => return Err(String::from("the schedule is empty: write five fields, such as `15 2 * * *`, or `@daily`")),
            count => {
                return Err(format!(
                    "`{text}` has {count} {}: five are needed (minute hour day-of-month month day-of-week), or six with the seconds first",
                    if count == 1 { "field" } else { "fields" }
                ));
            }
        }
        let [second, minute, hour, day, month, weekday] = fields[..] else { return Err(format!("`{text}` is not a schedule")) };
        let hour = field::parse(hour, &field::HOUR)?;
        let day = field::parse(day, &field::DAY)?;
        let weekday = field::parse(weekday, &field::WEEKDAY)?;
        let cron = Self {
            text: text.to_owned(),
            seconds: field::parse(second, &field::SECOND)?.bits,
            minutes: field::parse(minute, &field::MINUTE)?.bits,
            hours: hour.bits,
            days: day.bits,
            months: field::parse(month, &field::MONTH)?.bits,
            weekdays: (weekday.bits | weekday.bits >> 7) & 0x7f,
            join: if begins_with_star(day) || begins_with_star(weekday) { DayJoin::And } else { DayJoin::Or },
            hour: if hour.star == Star::None { HourKind::Fixed } else { HourKind::Elapsed },
        };
        cron.refuse_impossible_dates()?;
        Ok(cron)
    }

    /// The line as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn hour_kind(&self) -> HourKind {
        self.hour
    }

    fn refuse_impossible_dates(&self) -> Result<(), String> {
        let longest = bits(self.months).map(longest_month).max().unwrap_or(31);
        let first = self.days.trailing_zeros();
        if first <= longest {
            return Ok(());
        }
        let months: Vec<&str> = bits(self.months).filter_map(|month| MONTH_NAMES.get(month as usize - 1).copied()).collect();
        Err(format!(
            "`{}` can never come due: {} has no day {first}; for the end of every month use the first day of the next",
            self.text,
            months.join(" or ")
        ))
    }

    /// The first reading at or after `from` that matches, to the second. None beyond the calendar.
    pub(super) fn first_reading(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let (hour, minute, mut second) = (from.hour(), from.minute(), from.second());
        if from.nanosecond() > 0 {
            second += 1;
        }
        if self.matches_day(from.date())
            && let Some((hour, minute, second)) = self.first_time(hour, minute, second)
        {
            return from.date().and_hms_opt(hour, minute, second);
        }
        let day = self.first_day(from.date().succ_opt()?)?;
        day.and_hms_opt(self.hours.trailing_zeros(), self.minutes.trailing_zeros(), self.seconds.trailing_zeros())
    }

    /// The first time of day at or after the given one (`second` may be 60).
    fn first_time(&self, hour: u32, minute: u32, second: u32) -> Option<(u32, u32, u32)> {
        let (first_minute, first_second) = (self.minutes.trailing_zeros(), self.seconds.trailing_zeros());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_above(self.seconds, second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = at_or_above(self.minutes, minute + 1) {
                return Some((hour, minute, first_second));
            }
        }
        at_or_above(self.hours, hour + 1).map(|hour| (hour, first_minute, first_second))
    }

    fn matches_day(&self, date: NaiveDate) -> bool {
        has(self.months, date.month()) && has(self.days_of(date.with_day(1)), date.day())
    }

    /// The first matching date at or after `from`.
    fn first_day(&self, from: NaiveDate) -> Option<NaiveDate> {
        let mut day = from.day();
        let mut month = from.with_day(1)?;
        let last_year = from.year().checked_add(HORIZON_YEARS)?;
        while month.year() <= last_year {
            if has(self.months, month.month())
                && let Some(found) = at_or_above(self.days_of(Some(month)), day)
            {
                return month.with_day(found);
            }
            day = 1;
            month = month.checked_add_months(chrono::Months::new(1))?;
        }
        None
    }

    /// The matching days of the month that begins at `first`, as bits 1 to 31.
    fn days_of(&self, first: Option<NaiveDate>) -> u64 {
        let Some(first) = first else { return 0 };
        // Repeat the week's seven bits over six weeks, then move day 1 to its weekday.
        let week = (0..6).fold(0_u64, |all, week| all | self.weekdays << (7 * week));
        let by_weekday = week >> first.weekday().num_days_from_sunday() << 1;
        let joined = match self.join {
            DayJoin::And => self.days & by_weekday,
            DayJoin::Or => self.days | by_weekday,
        };
        joined & ((2 << u64::from(first.num_days_in_month())) - 1)
    }
}

const MONTH_NAMES: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

fn begins_with_star(field: Field) -> bool {
    field.star == Star::First
}

fn longest_month(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn has(set: u64, number: u32) -> bool {
    number < 64 && set >> number & 1 == 1
}

fn at_or_above(set: u64, number: u32) -> Option<u32> {
    let rest = set.checked_shr(number).unwrap_or(0);
    (rest != 0).then(|| number + rest.trailing_zeros())
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |number| has(set, *number))
}

/// Turns `@daily` and kin into fields.
fn expand(text: &str) -> Result<&str, String> {
    let Some(name) = text.strip_prefix('@') else { return Ok(text) };
    match name.to_ascii_lowercase().as_str() {
        "hourly" => Ok("0 * * * *"),
        "daily" | "midnight" => Ok("0 0 * * *"),
        "weekly" => Ok("0 0 * * 0"),
        "monthly" => Ok("0 0 1 * *"),
        "yearly" | "annually" => Ok("0 0 1 1 *"),
        "reboot" => Err(String::from("@reboot is not a time: type `pgdumpd backup PROJECT`, or name a time")),
        other if other.starts_with("every") => Err(format!("`{text}` is written every = \"15 min\" instead of cron = …")),
        _ => Err(format!("`{text}` is unknown: @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually are known")),
    }
}

#[cfg(test)]
mod tests;
