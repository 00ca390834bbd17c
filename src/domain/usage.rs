//! Metered usage: what callers report, summed up for one event per subscription, dimension and
//! clock hour, and how far each event is.
//!
//! Source: `marketplace-saas.md` section 13.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Cause, Change, Entity, Fact, SubscriptionId};

/// How much was used: more than nothing, in millionths, so that sums are exact.
///
/// Microsoft's quantities are doubles, which do not add up (`0.1 + 0.2`). A decimal number as a
/// caller writes it is taken to the last digit or refused, never rounded; sums are sums of whole
/// numbers, and what is sent is the decimal text of the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

/// A text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// It is no number.
    #[error("it is no number")]
    NoNumber,
    /// It is zero or less.
    #[error("it must be more than 0")]
    NotPositive,
    /// It has too many decimal places.
    #[error("it has more than 6 decimal places")]
    TooFine,
    /// It is too large.
    #[error("it is larger than 1,000,000,000,000")]
    TooLarge,
}

impl Quantity {
    /// Decimal places.
    const PLACES: i64 = 6;
    /// The largest one, also of a sum: 10¹² units.
    const MAX: u64 = 1_000_000_000_000_000_000;

    /// So many millionths; `None` for none, or too many.
    pub const fn from_millionths(count: u64) -> Option<Self> {
        if count == 0 || count > Self::MAX { None } else { Some(Self(count)) }
    }

    /// In millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Both together; `None` when that is too much.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::from_millionths)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:06}").trim_end_matches('0'))
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    /// Reads a JSON number: `3`, `3.50`, `1.5e3`.
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        use InvalidQuantity as Invalid;
        let text = text.trim();
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |it| (true, it));
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => {
                (digits, exponent.parse::<i32>().map_err(|_word| Invalid::NoNumber)?)
            }
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(Invalid::NoNumber);
        }
        let figures = [whole, fraction].concat();
        let places = i64::try_from(fraction.len()).map_err(|_long| Invalid::TooFine)?;
        let kept = figures.trim_start_matches('0').trim_end_matches('0');
        if kept.is_empty() || negative {
            return Err(Invalid::NotPositive);
        }
        let dropped = figures.len().saturating_sub(figures.trim_end_matches('0').len());
        let dropped = i64::try_from(dropped).map_err(|_long| Invalid::TooLarge)?;
        // In millionths the number is `kept` times ten to this.
        let shift = i64::from(exponent) + dropped - places + Self::PLACES;
        if shift < 0 {
            return Err(Invalid::TooFine);
        }
        let shift = u32::try_from(shift).map_err(|_large| Invalid::TooLarge)?;
        let count = kept.parse::<u64>().ok().zip(10_u64.checked_pow(shift));
        let count = count.and_then(|(kept, scale)| kept.checked_mul(scale));
        count.and_then(Self::from_millionths).ok_or(Invalid::TooLarge)
    }
}

/// The number of a usage event, in the order of their first reports. Shown as `u17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageId(pub u64);

/// The text is no number of a usage event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no number of a usage event, such as u17")]
pub struct InvalidUsageId;

impl fmt::Display for UsageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}", self.0)
    }
}

impl FromStr for UsageId {
    type Err = InvalidUsageId;

    fn from_str(text: &str) -> Result<Self, InvalidUsageId> {
        let text = text.trim();
        let number = text.strip_prefix(['u', 'U']).unwrap_or(text);
        number.parse().map(Self).map_err(|_word| InvalidUsageId)
    }
}

/// What Microsoft takes one event for, once and for all.
///
/// The plan is not part of it: by the reference one event counts per subscription, dimension and
/// clock hour, so two for the two plans of an hour in which the plan changed would be one too many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Whose usage.
    pub subscription: SubscriptionId,
    /// Of what: the custom dimension's id, as Partner Center has it.
    pub dimension: Arc<str>,
    /// In which clock hour (UTC): its first moment.
    pub hour: Timestamp,
}

/// How long Microsoft takes an event after what it tells of.
pub const USAGE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The first moment of the clock hour (UTC).
pub fn hour_of(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(3_600)).unwrap_or(at)
}

/// Whether the text can be a dimension's id: 1 to 64 letters, digits, `-`, `_` and `.`.
pub fn is_dimension(text: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// Usage that is to be told to Microsoft, or was: the sum of what callers reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Its number.
    pub id: UsageId,
    /// What it is the usage of.
    pub key: UsageKey,
    /// The plan at [`Self::effective`].
    pub plan: Arc<str>,
    /// The latest moment of the hour at which something was used: sent as `effectiveStartTime`, for
    /// the subscription was active then, which at the beginning of the hour it need not have been.
    pub effective: Timestamp,
    /// The sum.
    pub quantity: Quantity,
    /// How many reports it is the sum of.
    pub reports: u32,
    /// When the first of them came.
    pub first: Timestamp,
    /// When the last of them came.
    pub last: Timestamp,
    /// The caller that reported last.
    pub caller: Arc<str>,
    /// How often Microsoft answered with a fault of its own.
    pub tries: u32,
    /// How far we are.
    pub state: UsageState,
}

/// How far a usage event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageState {
    /// Reports are still added to it.
    Open,
    /// Its sum stands: it is being sent.
    Closed,
    /// Microsoft has it.
    Sent {
        /// Since when we know.
        at: Timestamp,
        /// Microsoft's `usageEventId`.
        reference: Option<Arc<str>>,
    },
    /// Microsoft had one for the hour before.
    Duplicate {
        /// Since when we know.
        at: Timestamp,
        /// The quantity that counts there, as Microsoft says it.
        accepted: Option<Arc<str>>,
        /// Whether that is another quantity than ours. Nothing can be corrected there.
        differs: bool,
    },
    /// Not billed: Microsoft will not take it, or its time is over.
    Dead {
        /// Since when.
        at: Timestamp,
        /// Microsoft's word for it, if it said one.
        status: Option<Arc<str>>,
        /// What was wrong and what to do.
        why: Arc<str>,
    },
}

impl UsageState {
    /// The words of all states.
    pub const WORDS: [&'static str; 5] = ["queued", "sending", "sent", "duplicate", "dead"];

    /// For people and programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "queued",
            Self::Closed => "sending",
            Self::Sent { .. } => "sent",
            Self::Duplicate { .. } => "duplicate",
            Self::Dead { .. } => "dead",
        }
    }

    /// Since when nothing more will be done.
    pub const fn over_since(&self) -> Option<Timestamp> {
        match self {
            Self::Open | Self::Closed => None,
            Self::Sent { at, .. } | Self::Duplicate { at, .. } | Self::Dead { at, .. } => Some(*at),
        }
    }
}

impl UsageEvent {
    /// When the hour is over and latecomers have had a little time: then the sum is closed.
    pub fn due(&self) -> Timestamp {
        /// After the end of the hour.
        const AFTER_HOUR: SignedDuration = SignedDuration::from_mins(10);
        /// After the first report, when that comes late.
        const AFTER_REPORT: SignedDuration = SignedDuration::from_mins(5);
        let hour_over = later(self.key.hour, SignedDuration::from_hours(1));
        later(hour_over, AFTER_HOUR).max(later(self.first, AFTER_REPORT))
    }

    /// When Microsoft no longer takes it.
    pub fn runs_out(&self) -> Timestamp {
        later(self.effective, USAGE_WINDOW)
    }

    /// The same event in another state.
    #[must_use]
    pub fn with(&self, state: UsageState) -> Self {
        Self { state, ..self.clone() }
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

impl Change {
    /// Usage that Microsoft has, or will never have; without a cause it is the caller's who reported
    /// it last.
    pub fn of_usage(at: Timestamp, cause: Option<Cause>, it: &UsageEvent) -> Self {
        let told = match &it.state {
            UsageState::Open | UsageState::Closed => "is sent again".to_owned(),
            UsageState::Sent { reference: None, .. } => "Microsoft has it".to_owned(),
            UsageState::Sent { reference: Some(id), .. } => format!("Microsoft has it as {id}"),
            UsageState::Duplicate { differs: false, .. } => "Microsoft had it before".to_owned(),
            UsageState::Duplicate { accepted, .. } => {
                let theirs = accepted.as_deref().unwrap_or("another quantity");
                format!("Microsoft had {theirs} for this hour before, and that counts")
            }
            UsageState::Dead { why, .. } => format!("not billed: {why}"),
        };
        let words = format!(
            "{} {} of {} in the hour of {}, plan {}: {told}",
            it.id, it.quantity, it.key.dimension, it.key.hour, it.plan
        );
        Self {
            at,
            cause: cause.unwrap_or_else(|| Cause::Caller(Arc::clone(&it.caller))),
            entity: Entity::Usage,
            id: it.key.subscription.to_string().into(),
            tenant: None,
            user: None,
            before: None,
            after: Some(Fact::Words(words.into())),
        }
    }
}

/// What a commit does to usage. Made by the store alone, which adds up one report at a time.
#[derive(Clone, Debug)]
pub enum UsageWrite {
    /// The event stands like this now.
    Put(Arc<UsageEvent>),
    /// It is long over.
    Forget(UsageId),
    /// A request was answered, and is to be answered the same way when it comes again.
    Remember(UsageAnswer),
    /// It no longer is.
    ForgetAnswer([u8; 32]),
}

/// How a request with an idempotency key was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageAnswer {
    /// Digest of caller and idempotency key.
    pub key: [u8; 32],
    /// Digest of the request's body.
    pub body: [u8; 32],
    /// When.
    pub at: Timestamp,
    /// The answer's body.
    pub answer: Arc<[u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_taken_to_the_last_digit_or_refused() {
        let check = |text: &str, reads: Result<&str, InvalidQuantity>| {
            let read = text.parse::<Quantity>().map(|it| it.to_string());
            assert_eq!(read, reads.map(str::to_owned), "{text}");
        };
        check("1", Ok("1"));
        check("3.50", Ok("3.5"));
        check("0.000001", Ok("0.000001"));
        check("1.5e3", Ok("1500"));
        check("25E-1", Ok("2.5"));
        check("1000000000000", Ok("1000000000000"));
        check("0.1000000000000", Ok("0.1"));
        check("1e-6", Ok("0.000001"));
        check("0", Err(InvalidQuantity::NotPositive));
        check("0.00", Err(InvalidQuantity::NotPositive));
        check("0e999999999999", Err(InvalidQuantity::NoNumber));
        check("-1", Err(InvalidQuantity::NotPositive));
        check("-0.5e1", Err(InvalidQuantity::NotPositive));
        check("0.0000001", Err(InvalidQuantity::TooFine));
        check("1e-7", Err(InvalidQuantity::TooFine));
        check("1000000000000.000001", Err(InvalidQuantity::TooLarge));
        check("1e13", Err(InvalidQuantity::TooLarge));
        check("1e308", Err(InvalidQuantity::TooLarge));
        check("123456789012345678901234567890", Err(InvalidQuantity::TooLarge));
        for no_number in ["", "NaN", "Infinity", "-", ".5", "5.", "1e", "1.5.2", "0x10", "\"3\""] {
            check(no_number, Err(InvalidQuantity::NoNumber));
        }
    }

    #[test]
    fn sums_are_exact_and_never_wrap() {
        let of = |text: &str| text.parse::<Quantity>().unwrap();
        let ten: Quantity = (1..10).fold(of("0.1"), |sum, _| sum.plus(of("0.1")).unwrap());
        assert_eq!(ten, of("1"), "ten tenths are one, which doubles deny");
        assert_eq!(of("1000000000000").plus(of("0.000001")), None);
    }

    #[test]
    fn hours_are_those_of_the_clock_in_utc() {
        let check = |at: &str, hour: &str| {
            assert_eq!(hour_of(at.parse().unwrap()), hour.parse().unwrap(), "{at}");
        };
        check("2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z");
        check("2026-11-22T09:59:59.999Z", "2026-11-22T09:00:00Z");
        check("2026-11-22T15:29:59+05:30", "2026-11-22T09:00:00Z");
        check("1969-12-31T23:59:59Z", "1969-12-31T23:00:00Z");
    }

    #[test]
    fn a_dimension_is_an_id() {
        for good in ["dim1", "api-calls_2.0", "E"] {
            assert!(is_dimension(good), "{good}");
        }
        for bad in ["", "with space", "ü", "a/b", &"x".repeat(65)] {
            assert!(!is_dimension(bad), "{bad}");
        }
    }

    #[test]
    fn a_number_reads_back_as_it_is_shown() {
        assert_eq!(UsageId(17).to_string().parse(), Ok(UsageId(17)));
        assert!("x17".parse::<UsageId>().is_err());
    }

    #[test]
    fn a_sum_is_closed_a_little_after_its_hour_or_its_late_first_report() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let check = |first: &str, due: &str| {
            let event = UsageEvent {
                id: UsageId(1),
                key: UsageKey {
                    subscription: SubscriptionId::from_uuid(uuid::Uuid::from_u128(1)),
                    dimension: "d".into(),
                    hour: at("2026-11-22T09:00:00Z"),
                },
                plan: "p".into(),
                effective: at("2026-11-22T09:30:00Z"),
                quantity: "1".parse().unwrap(),
                reports: 1,
                first: at(first),
                last: at(first),
                caller: "c".into(),
                tries: 0,
                state: UsageState::Open,
            };
            assert_eq!(event.due(), at(due), "{first}");
            assert_eq!(event.runs_out(), at("2026-11-23T09:30:00Z"));
        };
        check("2026-11-22T09:30:00Z", "2026-11-22T10:10:00Z");
        check("2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z");
    }
}
