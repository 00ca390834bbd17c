//! One table per kind of evidence. Each piece is judged alone; choosing is [`super::decide()`]'s.

use std::cmp::{Ordering, Reverse};

use jiff::{SignedDuration, Timestamp};

use super::evidence::{
    Covered, Evidence, EvidenceId, EvidenceKind, Found, Knowledge, License, Question, Seat,
    Subscribed, UsageRight,
};
use super::{Notice, Reason, SeatUse, State, host};
use crate::domain::{
    CapabilityStatus, Channel, Features, Freshness, LicenseKind, OnStale, OverLimit, Plan, Policy,
    Standing, SubscriptionStatus,
};

/// What one piece of evidence comes to.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// Which piece.
    pub id: EvidenceId<'a>,
    /// Which kind of evidence it is.
    pub kind: EvidenceKind,
    /// The channel it speaks for.
    pub channel: Channel,
    /// The plan it is one of.
    pub plan: Option<&'a Plan>,
    /// What it unlocks while it is usable.
    pub features: Option<&'a Features>,
    /// What it was judged.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// When what was paid for ends or ended.
    pub period_end: Option<Timestamp>,
    /// When the grace after it ends.
    pub grace_end: Option<Timestamp>,
    /// What people should be told.
    pub notice: Option<Notice>,
    /// When what it says was true; `None` if its source was never completely read.
    pub as_of: Option<Timestamp>,
    /// Whether that is longer ago than the source's `max_age`.
    pub stale: bool,
    /// The seat that the user holds or would take by it.
    pub seat: Option<SeatUse>,
    /// Whether it takes part in the choice.
    pub counting: Counting,
    /// The source's own word for where it stands, if it has one.
    pub said: &'a str,
}

/// Whether a piece of evidence takes part in the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// It does.
    Counts,
    /// It is no right at all: a seat that is only meant to be, or a license that was not
    /// recognized. Only its reason is used, and only when nothing else was found.
    NoRight,
    /// Its channel or kind does not speak here (rule 6).
    ShutOut,
}

impl Verdict<'_> {
    /// How two verdicts compare: the smaller one wins.
    ///
    /// The better state; then more features, then the one that lasts longer (without an end:
    /// longest). What is left only makes the order of evidence irrelevant: the kind, the fresher
    /// one, the channel, the reason, the id, what the source says.
    ///
    /// Source: contract section 2, rule 1.
    pub fn order(&self, other: &Self) -> Ordering {
        let features = |it: &Self| Reverse(it.features.map_or(0, |it| it.len()));
        let lasts = |it: &Self| Reverse(it.end().unwrap_or(Timestamp::MAX));
        let plan = |it: &Self| it.plan.map(|it| &it.service_id);
        self.state
            .cmp(&other.state)
            .then_with(|| features(self).cmp(&features(other)))
            .then_with(|| lasts(self).cmp(&lasts(other)))
            .then_with(|| {
                // The kind before the age: two proofs of one licence take turns in being read, and
                // the answer must not change with them.
                let key = |it: &Self| (it.stale, it.kind, Reverse(it.as_of));
                key(self).cmp(&key(other))
            })
            .then_with(|| (self.channel, self.reason).cmp(&(other.channel, other.reason)))
            .then_with(|| plan(self).cmp(&plan(other)))
            .then_with(|| (self.id, self.said).cmp(&(other.id, other.said)))
    }

    /// When it stops to be worth what it was judged.
    pub fn end(&self) -> Option<Timestamp> {
        self.grace_end.or(self.period_end)
    }
}

/// What a table says of a piece of evidence, before its age and the host are looked at.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    pub(super) state: State,
    pub(super) reason: Reason,
    pub(super) period_end: Option<Timestamp>,
    pub(super) grace_end: Option<Timestamp>,
}

impl Judged {
    const fn is(state: State, reason: Reason) -> Self {
        Self { state, reason, period_end: None, grace_end: None }
    }
}

/// Judges one piece of evidence on its own.
pub fn judge<'a>(
    evidence: &Evidence<'a>,
    question: &Question<'a>,
    knowledge: &Knowledge,
    policy: &Policy,
    now: Timestamp,
) -> Verdict<'a> {
    let judged = match evidence {
        Evidence::Subscription(it) => judge_subscription(it, now),
        Evidence::Seat(it) => judge_seat(it, now),
        Evidence::License(it) => judge_license(it, question, policy, now),
        Evidence::UsageRight(it) => judge_usage_right(it),
    };
    let channel = evidence.channel();
    let plan = evidence.plan();
    let own = question.product.features.get(&channel);
    let verdict = Verdict {
        id: evidence.id(),
        kind: evidence.kind(),
        channel,
        plan,
        features: plan.map(|it| &it.features).or(own),
        state: judged.state,
        reason: judged.reason,
        period_end: judged.period_end,
        grace_end: judged.grace_end,
        notice: notice(evidence, question, policy, judged.state),
        as_of: Some(now),
        stale: false,
        seat: seat_use(evidence),
        counting: counting(evidence, question, knowledge, judged.reason),
        said: evidence.said(),
    };
    aged(verdict, evidence, knowledge, policy, now)
}

/// A subscription: its status decides, not the clock; then who is covered.
///
/// Source: contract section 2, rules 3 and 4; `marketplace-saas.md` section 5.3.
fn judge_subscription(it: &Subscribed<'_>, now: Timestamp) -> Judged {
    use SubscriptionStatus as Status;
    let subscription = it.subscription;
    let over = subscription.term_over();
    let ahead = over.filter(|end| *end > now);
    let live = if subscription.free_trial {
        Judged::is(State::Trial, Reason::SubscriptionTrial)
    } else {
        Judged::is(State::Active, Reason::SubscriptionActive)
    };
    let live = Judged { period_end: ahead, ..live };
    match (&subscription.status, it.covered) {
        (Status::Subscribed, Covered::Tenant | Covered::HoldsSeat(_) | Covered::SeatFree(_)) => {
            live
        }
        (Status::Subscribed, Covered::NoneFree) => {
            Judged::is(State::Unlicensed, Reason::NoFreeSeat)
        }
        (Status::Subscribed, Covered::NoUser) => Judged::is(State::Unlicensed, Reason::UserNeeded),
        (Status::PendingFulfillmentStart, _) => {
            Judged::is(State::Pending, Reason::SubscriptionPending)
        }
        (Status::Suspended, _) => Judged::is(State::Suspended, Reason::SubscriptionSuspended),
        (Status::Unsubscribed, _) => {
            let ended = over.filter(|end| *end <= now);
            Judged { period_end: ended, ..Judged::is(State::Expired, Reason::SubscriptionEnded) }
        }
        (Status::Unrecognized(_), _) => Judged::is(State::Unknown, Reason::StatusUnrecognized),
    }
}

/// A seat: how it is held, then where the SKU stands.
///
/// Source: contract section 2, rules 2 and 3.
fn judge_seat(it: &Seat<'_>, now: Timestamp) -> Judged {
    use CapabilityStatus as Status;
    let held = match it.standing() {
        Found::Direct => Reason::SeatDirect,
        Found::ByGroup => Reason::SeatByGroup,
        Found::PathUnknown => Reason::SeatPathUnknown,
        Found::InError => return Judged::is(State::Unlicensed, Reason::SeatInError),
        Found::SwitchedOff => return Judged::is(State::Unlicensed, Reason::SeatSwitchedOff),
        Found::NotAssigned => return Judged::is(State::Unlicensed, Reason::SeatNotAssigned),
    };
    let moves_on = it.sku.next_lifecycle.filter(|at| *at > now);
    match &it.sku.status {
        Status::Enabled => Judged { period_end: moves_on, ..Judged::is(State::Active, held) },
        Status::Warning => {
            Judged { grace_end: moves_on, ..Judged::is(State::Grace, Reason::SeatGrace) }
        }
        Status::Suspended | Status::LockedOut => {
            Judged::is(State::Suspended, Reason::SeatSuspended)
        }
        Status::Deleted => Judged::is(State::Expired, Reason::SeatEnded),
        Status::Unrecognized(_) => Judged::is(State::Unknown, Reason::StatusUnrecognized),
    }
}

/// Where the times of a license put it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its trial runs.
    Trial,
    /// Its trial is over, and nobody has paid.
    TrialOver,
    /// Its paid period runs.
    Paid,
    /// Its paid period is over, the grace after it is not.
    Overdue,
    /// All of it is over.
    Over,
}

/// Judges a license: each row is a sentence of rule 5, and the first that fits decides. No row
/// catches all, so that a new standing stops the build until someone has decided what it means.
///
/// Source: contract section 2, rule 5; section 7.
fn judge_license(
    it: &License<'_>,
    question: &Question<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Judged {
    if !it.proof.is_taken_by(question.product.hybrid) {
        return Judged::is(State::Unlicensed, Reason::LicenseNotRecognized);
    }
    let judged = judge_times(it, policy.grace, now);
    if judged.state.is_usable() && refuses_for_number(it, question, policy) {
        return Judged::is(State::Unlicensed, Reason::OverLimit);
    }
    judged
}

/// What a license's times and what was last done to it come to.
pub(super) fn judge_times(it: &License<'_>, grace: SignedDuration, now: Timestamp) -> Judged {
    let grace_end = it.period_end.map(|end| end.saturating_add(grace).unwrap_or(end));
    let phase = phase(it, grace_end, now);
    let (state, reason) = match (it.standing, phase) {
        (Standing::Revoked, _) => (State::Expired, Reason::LicenseRevoked),
        (Standing::Suspended, _) => (State::Suspended, Reason::LicenseSuspended),
        (Standing::Current | Standing::Cancelled, Phase::Trial) => {
            (State::Trial, Reason::LicenseTrial)
        }
        (Standing::Current | Standing::Cancelled, Phase::TrialOver) => {
            (State::Expired, Reason::LicenseExpired)
        }
        (Standing::Current | Standing::Cancelled, Phase::Paid) => {
            (State::Active, Reason::LicenseActive)
        }
        (Standing::Current, Phase::Overdue) => (State::Grace, Reason::LicenseGrace),
        (Standing::Cancelled, Phase::Overdue) => (State::Expired, Reason::LicenseExpired),
        (Standing::Current | Standing::Cancelled, Phase::Over) => {
            (State::Expired, Reason::LicenseExpired)
        }
    };
    let period_end = match phase {
        Phase::Trial | Phase::TrialOver => it.trial_end,
        Phase::Paid | Phase::Overdue | Phase::Over => it.period_end,
    };
    let grace_end = grace_end.filter(|_| state == State::Grace);
    Judged { state, reason, period_end, grace_end }
}

fn phase(it: &License<'_>, grace_end: Option<Timestamp>, now: Timestamp) -> Phase {
    let unpaid = it.paid_at.is_none_or(|at| at > now);
    match it.trial_end.filter(|_| unpaid) {
        Some(end) if now < end => Phase::Trial,
        Some(_) => Phase::TrialOver,
        None if it.period_end.is_none_or(|end| now < end) => Phase::Paid,
        None if grace_end.is_some_and(|end| now < end) => Phase::Overdue,
        None => Phase::Over,
    }
}

/// The maximum that this user is over.
fn maximum_passed(it: &License<'_>, question: &Question<'_>) -> Option<u64> {
    let counted =
        it.kind == LicenseKind::User && host::counts_users(it.proof.channel(), question.host);
    it.users.filter(|users| counted && users.before >= users.max).map(|users| users.max)
}

fn refuses_for_number(it: &License<'_>, question: &Question<'_>, policy: &Policy) -> bool {
    let over = maximum_passed(it, question).is_some();
    over && it.over_limit.unwrap_or(policy.over_limit) == OverLimit::Deny
}

/// A usage right says what a seat would, without its path.
///
/// Source: `visuals-and-isv.md` sections 4.7 and 6.5.
fn judge_usage_right(it: &UsageRight<'_>) -> Judged {
    let (state, reason) = match it.state.trim().to_ascii_lowercase().as_str() {
        "active" => (State::Active, Reason::SeatPathUnknown),
        "warning" => (State::Grace, Reason::SeatGrace),
        "suspended" => (State::Suspended, Reason::SeatSuspended),
        "inactive" => (State::Unlicensed, Reason::SeatNotAssigned),
        _ => (State::Unknown, Reason::StatusUnrecognized),
    };
    Judged::is(state, reason)
}

/// What people should be told of a piece of evidence. A license ends when nobody will renew it, or
/// when no grace softens that nobody did; of a seat's purchase Microsoft does not tell us that.
fn notice(
    evidence: &Evidence<'_>,
    question: &Question<'_>,
    policy: &Policy,
    state: State,
) -> Option<Notice> {
    match evidence {
        _ if !state.is_usable() => None,
        Evidence::License(it) => {
            let over = maximum_passed(it, question).map(|max| Notice::OverLimit { max });
            let ends = it.standing == Standing::Cancelled || policy.grace.is_zero();
            over.or_else(|| ends.then_some(Notice::Ends))
        }
        Evidence::Subscription(it) => {
            (it.subscription.auto_renew == Some(false)).then_some(Notice::Ends)
        }
        Evidence::Seat(it) => it.held_back.then_some(Notice::HeldBack),
        Evidence::UsageRight(_) => None,
    }
}

fn seat_use(evidence: &Evidence<'_>) -> Option<SeatUse> {
    match evidence {
        Evidence::Subscription(it) => match it.covered {
            Covered::HoldsSeat(seat) | Covered::SeatFree(seat) => Some(seat),
            Covered::Tenant | Covered::NoneFree | Covered::NoUser => None,
        },
        Evidence::License(it) => it.seat,
        Evidence::Seat(_) | Evidence::UsageRight(_) => None,
    }
}

fn counting(
    evidence: &Evidence<'_>,
    question: &Question<'_>,
    knowledge: &Knowledge,
    reason: Reason,
) -> Counting {
    let channel = evidence.channel();
    let no_right = matches!(
        reason,
        Reason::SeatInError
            | Reason::SeatSwitchedOff
            | Reason::SeatNotAssigned
            | Reason::LicenseNotRecognized
    );
    let kind_fits = match evidence {
        Evidence::License(it) => host::kind_fits(it.kind, it.domain, question),
        Evidence::Subscription(_) | Evidence::Seat(_) | Evidence::UsageRight(_) => true,
    };
    if no_right {
        Counting::NoRight
    } else if host::speaks(channel, question.host)
        && host::speaks_in_cloud(channel, knowledge.cloud)
        && kind_fits
    {
        Counting::Counts
    } else {
        Counting::ShutOut
    }
}

/// The verdict under rule 8: how old it is, and what an old right is worth. The publisher's own
/// licenses are never old. Where Microsoft cannot be reached there is no end to that grace; a customer
/// who took his consent back has the same as one who does not pay, and is unknown after it.
///
/// Source: contract section 2, rule 8; section 7; the end is ours, where the contract is silent.
fn aged<'a>(
    verdict: Verdict<'a>,
    evidence: &Evidence<'_>,
    knowledge: &Knowledge,
    policy: &Policy,
    now: Timestamp,
) -> Verdict<'a> {
    let (as_of, limits) = match evidence {
        Evidence::License(_) => return verdict,
        Evidence::Subscription(it) => {
            let read = knowledge.subscriptions.last_complete;
            (read.or(Some(it.subscription.observed_at)), &policy.subscriptions)
        }
        Evidence::Seat(_) => (knowledge.directory.last_complete, &policy.directory),
        Evidence::UsageRight(it) => (Some(it.as_of), &policy.directory),
    };
    let verdict = Verdict { as_of, stale: is_stale(as_of, limits, now), ..verdict };
    if !verdict.state.is_usable() || !is_distrusted(as_of, limits, now) {
        return verdict;
    }
    let of_directory = matches!(evidence, Evidence::Seat(_) | Evidence::UsageRight(_));
    let refused = of_directory && knowledge.directory.refused;
    let grace_end = as_of.filter(|_| refused).and_then(|at| {
        at.checked_add(limits.trust_for).and_then(|at| at.checked_add(policy.grace)).ok()
    });
    match policy.on_stale {
        OnStale::Grace if grace_end.is_some_and(|end| end <= now) => {
            Verdict { state: State::Unknown, reason: Reason::NoConsent, ..verdict }
        }
        OnStale::Grace => {
            let grace_end = grace_end.or(verdict.grace_end);
            Verdict { state: State::Grace, reason: Reason::Stale, grace_end, ..verdict }
        }
        OnStale::Deny => Verdict { state: State::Unknown, reason: Reason::Stale, ..verdict },
    }
}

/// Whether what was true then is older than its source's `max_age`; what was never completely
/// read is.
pub fn is_stale(as_of: Option<Timestamp>, limits: &Freshness, now: Timestamp) -> bool {
    as_of.is_none_or(|at| now.duration_since(at) > limits.max_age)
}

/// Whether what was true then is older than it is trusted.
pub fn is_distrusted(as_of: Option<Timestamp>, limits: &Freshness, now: Timestamp) -> bool {
    as_of.is_some_and(|at| now.duration_since(at) > limits.trust_for)
}
