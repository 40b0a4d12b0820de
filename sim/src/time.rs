//! Virtual time: whole microseconds since 1970, so that queues compare integers.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use jiff::Timestamp;

/// A moment of virtual time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

/// A span of virtual time, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Span(pub i64);

impl Time {
    /// Where every world begins: 2026-01-01T00:00:00Z.
    pub const START: Time = Time(1_767_225_600_000_000);

    /// The moment as core and the API know it.
    ///
    /// # Panics
    /// Beyond the year 9999, which no world reaches.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).expect("a world's time lies within jiff's range")
    }

    /// Seconds since the world began, for people.
    #[must_use]
    pub fn seconds(self) -> f64 {
        (self - Self::START).seconds()
    }
}

impl From<Timestamp> for Time {
    fn from(t: Timestamp) -> Self {
        Self(t.as_microsecond())
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// Whole seconds.
    #[must_use]
    pub const fn s(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Milliseconds.
    #[must_use]
    pub const fn ms(milliseconds: i64) -> Self {
        Self(milliseconds * 1_000)
    }

    /// Microseconds.
    #[must_use]
    pub const fn us(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// In seconds, for people.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4))
    }
}

impl From<Span> for Duration {
    /// Nothing, of what lies in the past.
    fn from(span: Span) -> Self {
        Self::from_micros(u64::try_from(span.0).unwrap_or(0))
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0 + span.0)
    }
}

impl Sub for Time {
    type Output = Span;
    fn sub(self, other: Time) -> Span {
        Span(self.0 - other.0)
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0 + other.0)
    }
}

impl fmt::Debug for Time {
    /// Seconds since the world began.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.seconds())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.seconds())
    }
}
