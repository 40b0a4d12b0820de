//! Cron schedules as Kubernetes reads them (robfig/cron v3, the standard parser): five fields, names of
//! months and weekdays, `?`, lists, ranges, steps, `@daily` and its kin, `@every`. Always in UTC.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::time::Span;

/// A schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// At the minutes that match all five fields.
    Fields(Fields),
    /// Again and again after a time.
    Every(Span),
}

/// Five fields, each a set of numbers as bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of month or day of week is a star: both must match. Otherwise one of them is enough.
    starred: bool,
}

/// The text is no schedule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

struct Bounds {
    low: u8,
    high: u8,
    names: &'static [&'static str],
    first_name: u8,
}

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const fn bounds(low: u8, high: u8) -> Bounds {
    Bounds { low, high, names: &[], first_name: 0 }
}

/// How far ahead a match is sought, in days: five years.
const HORIZON_DAYS: i32 = 5 * 366;

impl std::str::FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let fields = match text.trim() {
            "" => return Err(InvalidSchedule("empty spec string".into())),
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => match other.strip_prefix("@every ") {
                Some(duration) => return Ok(Self::Every(go_duration(duration)?)),
                None if other.starts_with('@') => {
                    let message = format!("unrecognized descriptor: {other}");
                    return Err(InvalidSchedule(message));
                }
                None => other,
            },
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(InvalidSchedule(format!(
                "expected exactly 5 fields, found {}: [{}]",
                parts.len(),
                parts.join(" ")
            )));
        };
        let named = |low, high, names, first_name| Bounds { low, high, names, first_name };
        let (minutes, _) = field(minute, &bounds(0, 59))?;
        let (hours, _) = field(hour, &bounds(0, 23))?;
        let (days, any_day) = field(day, &bounds(1, 31))?;
        let (months, _) = field(month, &named(1, 12, MONTHS, 1))?;
        let (weekdays, any_weekday) = field(weekday, &named(0, 6, WEEKDAYS, 0))?;
        Ok(Self::Fields(Fields {
            minutes,
            hours,
            days,
            months,
            weekdays,
            starred: any_day || any_weekday,
        }))
    }
}

/// The numbers of a comma-separated field, and whether one of its parts is a star.
fn field(text: &str, bounds: &Bounds) -> Result<(u64, bool), InvalidSchedule> {
    let mut all = (0, false);
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (bits, star) = range(part, bounds)?;
        all = (all.0 | bits, all.1 || star);
    }
    Ok(all)
}

fn range(part: &str, bounds: &Bounds) -> Result<(u64, bool), InvalidSchedule> {
    let wrong = |what: &str| InvalidSchedule(format!("{what}: {part}"));
    let (span, step) = match part.split_once('/') {
        Some((_, step)) if step.contains('/') => return Err(wrong("too many slashes")),
        Some((span, step)) => (span, Some(number(step)?)),
        None => (part, None),
    };
    let (low, high, star) = match span.split_once('-') {
        Some((_, high)) if high.contains('-') => return Err(wrong("too many hyphens")),
        _ if matches!(span, "*" | "?") => (bounds.low, bounds.high, true),
        Some((low, high)) => (named(low, bounds)?, named(high, bounds)?, false),
        None => {
            let low = named(span, bounds)?;
            // `N/step` means from N to the end.
            let high = if step.is_some() { bounds.high } else { low };
            (low, high, false)
        }
    };
    let step = step.unwrap_or(1);
    if low < bounds.low {
        return Err(wrong(&format!("beginning of range ({low}) below minimum ({})", bounds.low)));
    }
    if high > bounds.high {
        return Err(wrong(&format!("end of range ({high}) above maximum ({})", bounds.high)));
    }
    if low > high {
        return Err(wrong(&format!("beginning of range ({low}) beyond end of range ({high})")));
    }
    if step == 0 {
        return Err(wrong("step of range should be a positive number"));
    }
    let bits = (low..=high).step_by(usize::from(step)).map(|n| 1u64 << n);
    // A star with a step says which ones, and is no star for the rule of the two kinds of days.
    Ok((bits.fold(0, |all, bit| all | bit), star && step == 1))
}

fn named(text: &str, bounds: &Bounds) -> Result<u8, InvalidSchedule> {
    let lower = text.to_ascii_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(index) => Ok(bounds.first_name + u8::try_from(index).unwrap_or(0)),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u8, InvalidSchedule> {
    let wrong = || InvalidSchedule(format!("failed to parse int from {text}"));
    let wide: u32 = text.parse().map_err(|_| wrong())?;
    Ok(u8::try_from(wide).unwrap_or(u8::MAX))
}

/// A duration in Go's spelling, whole seconds and at least one.
fn go_duration(text: &str) -> Result<Span, InvalidSchedule> {
    let wrong = || InvalidSchedule(format!("failed to parse duration @every {text}"));
    let mut rest = text.trim();
    let mut micros = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let amount: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let units = [("ms", 1e3), ("us", 1.0), ("h", 3.6e9), ("m", 6e7), ("s", 1e6)];
        let (unit, factor) =
            units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(wrong)?;
        micros += amount * factor;
        rest = &rest[unit.len()..];
    }
    // Go counts nanoseconds in 63 bits: some 292 years.
    if text.trim().is_empty() || micros * 1e3 > i64::MAX as f64 {
        return Err(wrong());
    }
    #[allow(clippy::cast_possible_truncation)]
    let seconds = (micros / 1e6) as i64;
    Ok(Span::s(seconds.max(1)))
}

impl Schedule {
    /// The first moment after another that the schedule names; none within five years for one like February 30th.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(span) => {
                let next = after.as_second() + span.0 / 1_000_000;
                Timestamp::from_second(next).ok()
            }
            Self::Fields(fields) => fields.next(after),
        }
    }

    /// The last moment up to `now` and after `from` that the schedule names.
    #[must_use]
    pub fn latest(&self, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let mut latest = None;
        let mut at = from;
        while let Some(next) = self.next(at).filter(|next| *next <= now) {
            latest = Some(next);
            at = next;
        }
        latest
    }
}

impl Fields {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let next_minute = after.as_second().div_euclid(60) * 60 + 60;
        let start = Timestamp::from_second(next_minute).ok()?;
        let start = start.to_zoned(TimeZone::UTC).datetime();
        let mut date = start.date();
        let mut first = Some((start.hour(), start.minute()));
        for _ in 0..=HORIZON_DAYS {
            if self.on(date) {
                let (hour, minute) = first.unwrap_or((0, 0));
                if let Some((hour, minute)) = self.time_from(hour, minute) {
                    let at = date.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?;
                    return Some(at.timestamp());
                }
            }
            first = None;
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn on(&self, date: Date) -> bool {
        let has = |bits: u64, n: i8| bits >> n & 1 == 1;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.starred { day && weekday } else { day || weekday }
    }

    fn time_from(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let from = |bits: u64, low: i8, high: i8| (low..=high).find(|n| bits >> n & 1 == 1);
        if self.hours >> hour & 1 == 1
            && let Some(minute) = from(self.minutes, minute, 59)
        {
            return Some((hour, minute));
        }
        Some((from(self.hours, hour + 1, 23)?, from(self.minutes, 0, 59)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> Option<String> {
        let schedule: Schedule = schedule.parse().expect("valid");
        let next = schedule.next(after.parse().expect("a time"))?;
        Some(ivory_core::object::time_text(next))
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived_and_the_next_time_is_later(
            text in "(@[a-z]{0,8}|TZ=[A-Za-z/]{0,6})?( ?[0-9*?/,a-z-]{1,6}){0,6}|@every [0-9a-z.]{0,12}|\\PC{0,12}",
            after in 0..4_000_000_000_i64,
        ) {
            let after = Timestamp::from_second(after).expect("before the year 2100");
            if let Ok(schedule) = text.parse::<Schedule>()
                && let Some(next) = schedule.next(after)
            {
                proptest::prop_assert!(next > after, "{} after {}", next, after);
            }
        }
    }

    #[test]
    fn the_next_time_is_found() {
        // 2026-01-01 is a Thursday.
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("* * * * *", "2026-01-01T00:00:59.5Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:46:00Z", "2026-01-01T01:00:00Z"),
            ("5/20 * * * *", "2026-01-01T00:26:00Z", "2026-01-01T00:45:00Z"),
            ("0 1 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T01:00:00Z"),
            ("0 1 * * SUN", "2026-01-01T00:00:00Z", "2026-01-04T01:00:00Z"),
            ("0 1 * * mon-fri", "2026-01-02T02:00:00Z", "2026-01-05T01:00:00Z"),
            ("30 23 31 12 ?", "2026-01-01T00:00:00Z", "2026-12-31T23:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 1,15 jan,Feb *", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"),
            // Neither kind of day is a star: one of them is enough.
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * 5", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"),
            // A star with a step is no star.
            ("0 0 */30 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * */1", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:10.7Z", "2026-01-01T01:30:10Z"),
            ("@every 10ms", "2026-01-01T00:00:10Z", "2026-01-01T00:00:11Z"),
        ] {
            assert_eq!(
                next(schedule, after).as_deref(),
                Some(expected),
                "{schedule} after {after}"
            );
        }
        assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "@fortnightly",
            "@every",
            "@every x",
            "@every 2562048h",
            "* * * foo *",
            "L * * * *",
            "-1 * * * *",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_latest_missed_time_is_found() {
        let schedule: Schedule = "0 * * * *".parse().expect("valid");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let from = at("2026-01-01T00:00:00Z");
        assert_eq!(schedule.latest(from, at("2026-01-01T00:59:00Z")), None);
        let last = schedule.latest(from, at("2026-01-03T05:10:00Z"));
        assert_eq!(last, Some(at("2026-01-03T05:00:00Z")));
    }
}
