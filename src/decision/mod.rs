//! (question, evidence, policy, now) → decision: pure, no I/O, no clock of its own.
//!
//! Contract section 2 as code. [`gather()`] looks up what speaks for or against a question, [`judge()`]
//! judges each piece alone, [`decide()`] lets the best one win, [`explain`] says why, and [`rewind()`]
//! turns the mirror back for questions about the past. What a host or a cloud lets speak is one
//! table in [`host`].

mod cover;
mod decide;
mod evidence;
mod gather;
pub mod host;
mod judge;
mod license;
mod license_figures;
mod licensed;
mod notice;
mod rewind;
mod switch;
#[cfg(test)]
mod tests;
mod trail;
mod words;

pub use cover::{Covers, LicenseCover, SeatCover, covers};
pub use decide::{
    CHECK_AFTER_S, CHECK_SOON_AFTER_S, Decision, Notice, REFUSED_FOR, SeatOf, SeatUse, USABLE_FOR,
    decide,
};
pub use evidence::{
    Covered, Evidence, EvidenceId, EvidenceKind, Found, Knowledge, Known, License, Proof, Question,
    Seat, Shown, Subscribed, UsageRight, Users,
};
pub use gather::{answer, explain, full_license, full_subscription, gather};
pub use judge::{Counting, Verdict, is_distrusted, is_stale, judge};
pub use license::{LicenseNow, license_now, time_step};
pub use license_figures::{LicenseFigures, Named};
pub use notice::{ENDS_SOON, Show, Told, told};
pub use rewind::{Past, licenses_of_past, rewind};
pub use switch::{Bought, Owned, Progress, Switch, SwitchAsked, SwitchStep, Switched};
pub use trail::{Fate, SourceStep, Step, Trail};
pub use words::{Reason, State};
