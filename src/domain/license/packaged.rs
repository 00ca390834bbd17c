//! Until when packages that were signed for a license go on working where nobody can be asked.

use jiff::Timestamp;

/// The package of a license that works offline longest.
///
/// What was signed cannot be taken back: a license that is changed to a shorter period still has
/// packages of the longer one out there, and reissuing or revoking it does not reach them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packaged {
    /// Until when it does; `None` for ever.
    pub until: Option<Timestamp>,
}

impl Packaged {
    /// Once another one was signed that works until then.
    #[must_use]
    pub fn and(self, until: Option<Timestamp>) -> Self {
        Self { until: self.until.zip(until).map(|(one, other)| one.max(other)) }
    }

    /// Whether any of them still works.
    pub fn works(self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
