//! Durations and sizes as people write and read them: `26h`, `15 min`, `2 GiB`.
//!
//! Reading is strict and says what to write instead; showing is exact for durations of whole milliseconds, rounded for sizes and ages.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// Milliseconds of each duration unit, with its spellings; the first one is shown.
const DURATIONS: [(u64, &[&str]); 6] = [
    (7 * 86_400_000, &["w", "week", "weeks"]),
    (86_400_000, &["d", "day", "days"]),
    (3_600_000, &["h", "hr", "hrs", "hour", "hours"]),
    (60_000, &["min", "m", "mins", "minute", "minutes"]),
    (1000, &["s", "sec", "secs", "second", "seconds"]),
    (1, &["ms", "msec", "millisecond", "milliseconds"]),
];

/// Bytes of each size unit, with its spellings in lower case.
const SIZES: [(u64, &[&str]); 10] = [
    (1, &["b", "byte", "bytes"]),
    (1 << 10, &["kib", "k"]),
    (1 << 20, &["mib", "m"]),
    (1 << 30, &["gib", "g"]),
    (1 << 40, &["tib", "t"]),
    (1 << 50, &["pib"]),
    (1000, &["kb"]),
    (1_000_000, &["mb"]),
    (1_000_000_000, &["gb"]),
    (1_000_000_000_000, &["tb"]),
];

/// Reads `26h`, `15 min`, `30 days`, `1h 30m`, `2 weeks`. The error is a sentence that says what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(String::from("a duration is missing: write a number and a unit, such as `15 min` or `26h`"));
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0_u64;
    let mut coarser = u64::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = take_part(text, rest)?;
        let millis = duration_unit(text, number, unit)?;
        if millis >= coarser {
            return Err(format!("`{text}` is not a duration: each unit comes once, the larger ones first, such as `1h 30min`"));
        }
        coarser = millis;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| format!("`{text}` is too long a duration"))?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// Takes one number and its unit off the beginning of `rest`.
fn take_part<'a>(text: &str, rest: &'a str) -> Result<(&'a str, &'a str, &'a str), String> {
    let (number, tail) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len()));
    if number.is_empty() {
        return Err(format!("`{text}` is not a duration: write a number and a unit, such as `15 min` or `26h`"));
    }
    if tail.starts_with(['.', ',']) {
        return Err(format!("`{text}` has a fraction: write it in a smaller unit, such as `1h 30min` for one and a half hours"));
    }
    let tail = tail.trim_start();
    let (unit, after) = tail.split_at(tail.find(|letter: char| !letter.is_alphabetic()).unwrap_or(tail.len()));
    Ok((number, unit, after.trim_start()))
}

fn duration_unit(text: &str, number: &str, unit: &str) -> Result<u64, String> {
    if unit.is_empty() {
        return Err(format!("`{text}` has no unit: write `{number} s`, `{number} min`, `{number} h` or `{number} days`"));
    }
    let lower = unit.to_lowercase();
    if unit == "M" || lower.starts_with("mo") {
        return Err(format!("`{text}`: months differ in length, write days or weeks (minutes are `min`)"));
    }
    if ["y", "yr", "year", "years"].contains(&lower.as_str()) {
        return Err(format!("`{text}`: years differ in length, write days, such as `365 days`"));
    }
    let found = DURATIONS.iter().find(|(_, names)| names.contains(&lower.as_str()));
    found.map(|(millis, _)| *millis).ok_or_else(|| format!("`{text}`: the unit `{unit}` is unknown, write s, min, h, days or weeks"))
}

/// Shows a duration exactly, to the millisecond: `1d 2h`, `15min`, `0s`. [`parse_duration`] reads it back.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (millis, names) in DURATIONS.iter().skip(1) {
        if rest >= *millis {
            parts.push(format!("{}{}", rest / millis, names.first().unwrap_or(&"")));
            rest %= millis;
        }
    }
    if parts.is_empty() { String::from("0s") } else { parts.join(" ") }
}

/// Shows a span or an age as people say it: `40 s`, `25 min`, `26 h`, `3 days 4 h`; two units at most, and hours up to two days.
#[must_use]
pub fn show_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [("day", 86_400, 2), ("h", 3_600, 1), ("min", 60, 1), ("s", 1, 1)];
    let first = units.iter().position(|(_, unit, least)| seconds >= unit * least).unwrap_or(units.len() - 1);
    let mut left = seconds;
    let mut parts = Vec::new();
    for (name, unit, _) in units.iter().skip(first).take(2) {
        let number = left / unit;
        left %= unit;
        if number > 0 || seconds == 0 {
            let plural = if *name == "day" && number > 1 { "s" } else { "" };
            parts.push(format!("{number} {name}{plural}"));
        }
    }
    parts.join(" ")
}

/// Reads `2 GiB`, `500 MB`, `1.5 TiB`, `1048576`: bytes. K, M, G and T alone mean KiB, MiB, GiB and TiB.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit = unit.trim_start();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(format!("`{text}` is not a size: write a number and a unit, such as `2 GiB` or `500 MB`"));
    }
    let lower = if unit.is_empty() { String::from("b") } else { unit.to_lowercase() };
    let found = SIZES.iter().find(|(_, names)| names.contains(&lower.as_str()));
    let bytes = found.map(|(bytes, _)| *bytes).ok_or_else(|| {
        format!(
            "`{text}`: the unit `{unit}` is unknown, write B, KiB, MiB, GiB or TiB (powers of 1024), or kB, MB, GB, TB (powers of 1000)"
        )
    })?;
    let too_large = || format!("`{text}` is too large a size");
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(bytes)).ok_or_else(too_large)?;
    // Nine digits behind the point are more than any size needs.
    let digits: String = fraction.chars().take(9).collect();
    let scale = 10_u128.pow(digits.len() as u32);
    let part = u128::from(digits.parse::<u64>().unwrap_or(0)) * u128::from(bytes) / scale;
    whole.checked_add(u64::try_from(part).unwrap_or(u64::MAX)).ok_or_else(too_large)
}

/// `1 table`, `2 tables`.
#[must_use]
pub fn show_count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Shows a size in the unit that leaves at most four figures before the point, rounded to one behind it: `980 B`, `1.2 GiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}
