//! One field of a crontab line: numbers, names, lists, ranges and steps, as a set of bits.
//!
//! Strict where crontab is silent: a step beyond the field, a range that runs backwards or a bare `n/step` is an error with its remedy.

/// What a field may hold.
pub(super) struct Kind {
    /// Its name in messages.
    pub(super) name: &'static str,
    /// Smallest number.
    pub(super) min: u32,
    /// Largest number.
    pub(super) max: u32,
    /// Names for numbers, the first one for `min`.
    pub(super) names: &'static [&'static str],
}

pub(super) const SECOND: Kind = Kind { name: "second", min: 0, max: 59, names: &[] };
pub(super) const MINUTE: Kind = Kind { name: "minute", min: 0, max: 59, names: &[] };
pub(super) const HOUR: Kind = Kind { name: "hour", min: 0, max: 23, names: &[] };
pub(super) const DAY: Kind = Kind { name: "day of month", min: 1, max: 31, names: &[] };
pub(super) const MONTH: Kind =
    Kind { name: "month", min: 1, max: 12, names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] };
/// 7 is Sunday too; [`parse`] leaves both bits as they are.
pub(super) const WEEKDAY: Kind = Kind { name: "day of week", min: 0, max: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The numbers a field allows, and whether it was written with a `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Bit n is set where the number n matches.
    pub(super) bits: u64,
    /// Whether it begins with `*` (crontab's AND rule for days), or any item of it does (hours that follow elapsed time).
    pub(super) star: Star,
}

/// How a field uses `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Star {
    /// Not at all.
    None,
    /// In a later item of a list.
    Inside,
    /// As its first character.
    First,
}

/// Reads one field.
pub(super) fn parse(text: &str, kind: &Kind) -> Result<Field, String> {
    let mut bits = 0;
    for item in text.split(',') {
        bits |= parse_item(item, kind).map_err(|why| format!("{} `{text}`: {why}", kind.name))?;
    }
    let star = match () {
        () if text.starts_with('*') => Star::First,
        () if text.contains('*') => Star::Inside,
        () => Star::None,
    };
    Ok(Field { bits, star })
}

fn parse_item(item: &str, kind: &Kind) -> Result<u64, String> {
    if item.is_empty() {
        return Err(String::from("an item of the list is empty"));
    }
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(parse_step(step, kind)?)),
        None => (item, None),
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (kind.min, if kind.max == WEEKDAY.max { 6 } else { kind.max }),
        Some((first, last)) => parse_range(first, last, kind)?,
        None if step.is_some() => {
            return Err(format!("a step needs a range before it: write `{range}-{}/{}`", kind.max, step.unwrap_or(1)));
        }
        None => {
            let number = parse_number(range, kind)?;
            (number, number)
        }
    };
    Ok((first..=last).step_by(step.unwrap_or(1) as usize).fold(0, |bits, number| bits | 1 << number))
}

fn parse_range(first: &str, last: &str, kind: &Kind) -> Result<(u32, u32), String> {
    let from = parse_number(first, kind)?;
    let mut to = parse_number(last, kind)?;
    if kind.max == WEEKDAY.max && to == 0 && from > 0 {
        to = 7;
    }
    if from > to {
        return Err(format!("the range `{first}-{last}` runs backwards: write `{first}-{},{}-{last}`", kind.max, kind.min));
    }
    Ok((from, to))
}

fn parse_step(text: &str, kind: &Kind) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(0) => Err(String::from("a step of 0 never moves on")),
        Ok(step) if step > kind.max => Err(format!(
            "a step of {step} is longer than the field ({}-{}), it would not do what it says; for intervals use every = \"…\"",
            kind.min, kind.max
        )),
        Ok(step) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(step),
        _ => Err(format!("the step `{text}` is not a number")),
    }
}

fn parse_number(text: &str, kind: &Kind) -> Result<u32, String> {
    if let Some(index) = kind.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(kind.min + index as u32);
    }
    if text == "?" {
        return Err(String::from("`?` is not crontab's: write `*`"));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(match kind.names {
            [first, .., last] => {
                format!("`{text}` is neither a number from {} to {} nor a name from {first} to {last}", kind.min, kind.max)
            }
            _ => format!("`{text}` is not a number from {} to {}", kind.min, kind.max),
        });
    }
    match text.parse::<u32>() {
        Ok(number) if (kind.min..=kind.max).contains(&number) => Ok(number),
        _ => Err(format!("{text} is outside {} to {}", kind.min, kind.max)),
    }
}
