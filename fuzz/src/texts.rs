//! The small languages: amounts and schedules.

use ivory_core::quantity::Quantity;
use ivory_sim::controllers::cron::Schedule;
use jiff::Timestamp;

use super::halves;

/// An amount of storage or CPU and, after a line of `--`, another. What is read is spelled and read again as the same, and order and sum agree.
///
/// # Panics
/// If not.
pub fn quantity(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (one, other) = halves(text);
    let Ok(one) = one.parse::<Quantity>() else { return false };
    let spelled = one.to_string();
    assert_eq!(spelled.parse::<Quantity>().as_ref(), Ok(&one), "{spelled}");
    assert_eq!(one.to_string(), spelled);
    let Ok(other) = other.parse::<Quantity>() else { return true };
    assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
    assert_eq!(one + other, other + one);
    assert!(other < Quantity::ZERO || one + other >= one, "{one} and {other}");
    true
}

/// A schedule of backups and, after a line of `--`, a time in seconds since 1970. What comes next is later than that, is
/// due by then, and has a later one after it.
///
/// # Panics
/// If not.
pub fn cron(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (schedule, at) = halves(text);
    let Ok(schedule) = schedule.parse::<Schedule>() else { return false };
    let seconds = at.trim().parse().unwrap_or(1_767_225_600_i64).rem_euclid(4_102_444_800);
    let now = Timestamp::from_second(seconds).expect("before 2100");
    let Some(next) = schedule.next(now) else { return true };
    assert!(next > now, "{next} after {now}");
    assert_eq!(schedule.latest(now, next), Some(next), "what comes next was due then");
    if let Some(then) = schedule.next(next) {
        assert!(then > next, "{then} after {next}");
    }
    true
}
