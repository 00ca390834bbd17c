//! The choice: the best evidence wins, and what to say when there is none.

use jiff::{SignedDuration, Timestamp};

use super::evidence::{Evidence, EvidenceKind, Knowledge, Known, Question};
use super::judge::{Counting, Verdict, is_distrusted, is_stale, judge};
use super::{Reason, State, host};
use crate::domain::{
    Channel, Features, Freshness, HeldSeat, Holders, LicenseId, LicenseUsers, Policy, ProductId,
    ServiceId, SubscriptionId,
};

/// How long a usable answer may be kept and worked with offline.
///
/// A day: a laptop that is off the network overnight keeps working, and a right that ended is felt
/// within a day at the latest.
pub const USABLE_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How long an answer that is not usable holds: short, since somebody may be buying right now.
pub const REFUSED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// After how many seconds to ask again when the answer is usable.
pub const CHECK_AFTER_S: u64 = 3600;

/// After how many seconds to ask again when a change is in the air: `pending` and `unknown`.
pub const CHECK_SOON_AFTER_S: u64 = 60;

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was asked for.
    pub product: ProductId,
    /// What it comes to.
    pub state: State,
    /// Whether the product may be used.
    pub usable: bool,
    /// Why.
    pub reason: Reason,
    /// The channel of the evidence that decided; `None` if nothing was found.
    pub source: Option<Channel>,
    /// The kind of the evidence that decided; `None` if nothing was found.
    pub proof: Option<EvidenceKind>,
    /// The plan of the evidence that decided; outside, its last part stands for it.
    pub plan: Option<ServiceId>,
    /// What is unlocked; empty unless usable.
    pub features: Features,
    /// When what was paid for ends or ended.
    pub period_end: Option<Timestamp>,
    /// When the grace after it ends.
    pub grace_end: Option<Timestamp>,
    /// What people should be told; [`super::told()`] makes the visual's notice of it.
    pub notice: Option<Notice>,
    /// When the facts were true that decided; `None` if a source was never completely read.
    pub as_of: Option<Timestamp>,
    /// Whether that is longer ago than the source's `max_age`.
    pub stale: bool,
    /// Seconds after which to ask again.
    pub check_after_s: u64,
    /// Until when the answer may be kept.
    pub valid_until: Timestamp,
    /// The seat that the user holds or has to take for this answer: it holds only once the seat is
    /// taken.
    pub seat: Option<SeatUse>,
    /// Whether a license was shown that is none, or not his, whatever decided instead.
    pub license_refused: bool,
}

/// What people should be told beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The license has more users than it allows; the answer is usable all the same.
    OverLimit {
        /// So many it allows.
        max: u64,
    },
    /// The last complete read of the tenant no longer had the user's licence, together with so
    /// many others that a second one is waited for; until then it counts.
    HeldBack,
    /// Nobody will renew it: it ends when what was paid for does.
    Ends,
}

/// What a seat is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatOf {
    /// A subscription with `coverage = "seats"`.
    Subscription(SubscriptionId),
    /// A license.
    License(LicenseId),
}

/// A seat, or the place of a license's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatUse {
    /// Of what.
    pub of: SeatOf,
    /// How many it has; `None` sets no limit.
    pub quantity: Option<u64>,
    /// After how long an unused seat is free again.
    pub release_after: SignedDuration,
    /// The seat that the user holds already.
    pub held: Option<HeldSeat>,
}

impl SeatUse {
    /// Whether it has to be written: it is new, or was last used so long ago that the use counts.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let every = match self.of {
            SeatOf::Subscription(_) => Holders::touch_every(self.release_after),
            SeatOf::License(_) => LicenseUsers::touch_every(self.release_after),
        };
        let fresh = |seat: HeldSeat| now.duration_since(seat.last_used) < every;
        !self.held.is_some_and(fresh)
    }
}

/// Answers a question from its evidence: contract section 2.
pub fn decide(
    question: &Question<'_>,
    evidence: &[Evidence<'_>],
    knowledge: &Knowledge,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let verdicts = evidence.iter().map(|it| judge(it, question, knowledge, policy, now));
    choose(question, verdicts, knowledge, policy, now)
}

/// Answers a question from what its evidence was judged.
pub(super) fn choose<'a>(
    question: &Question<'a>,
    verdicts: impl Iterator<Item = Verdict<'a>>,
    knowledge: &Knowledge,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut best: Option<Verdict<'a>> = None;
    let mut left: Option<Reason> = None;
    for verdict in verdicts {
        let reason = match verdict.counting {
            Counting::Counts => {
                let wins = best.as_ref().is_none_or(|best| verdict.order(best).is_lt());
                best = if wins { Some(verdict) } else { best };
                continue;
            }
            Counting::NoRight => verdict.reason,
            Counting::ShutOut => Reason::HostUnsupported,
        };
        left = Some(left.map_or(reason, |left| left.min(reason)));
    }
    match best {
        Some(verdict) => decided(question, &verdict, now),
        None => nothing_found(question, left, knowledge, policy, now),
    }
}

fn decided(question: &Question<'_>, verdict: &Verdict<'_>, now: Timestamp) -> Decision {
    let usable = verdict.state.is_usable();
    let features = verdict.features.filter(|_| usable).cloned();
    let valid_until = valid_until(usable, verdict.end(), now);
    Decision {
        product: question.product.id.clone(),
        state: verdict.state,
        usable,
        reason: verdict.reason,
        source: Some(verdict.channel),
        proof: Some(verdict.kind),
        plan: verdict.plan.map(|it| it.service_id.clone()),
        features: features.unwrap_or_default(),
        period_end: verdict.period_end,
        grace_end: verdict.grace_end,
        notice: verdict.notice,
        as_of: verdict.as_of,
        stale: verdict.stale,
        check_after_s: check_after_s(verdict.state, verdict.reason, valid_until, now),
        valid_until,
        seat: verdict.seat.filter(|_| usable),
        license_refused: question.license_refused,
    }
}

/// The answer when nothing that counts was found: rule 7.
///
/// `left` is why the pieces that do not count were dropped, the reason to be named first.
fn nothing_found(
    question: &Question<'_>,
    left: Option<Reason>,
    knowledge: &Knowledge,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let sources = relevant(question, knowledge, policy);
    let sources = || sources.iter().flatten();
    let unread = sources().filter_map(|(known, limits)| why_unread(*known, limits, policy, now));
    let forgotten = knowledge.licenses_forgotten.then_some(Reason::NotRecorded);
    let unread = unread.chain(forgotten).min();
    let (state, reason) = match unread {
        Some(reason) => (State::Unknown, reason),
        None => (State::Unlicensed, why_unlicensed(question, left, knowledge)),
    };
    let never = forgotten.is_some() || sources().any(|(known, _)| known.last_complete.is_none());
    let oldest = sources().filter_map(|(known, _)| known.last_complete).min();
    let is_old = |(known, limits): &(Known, &Freshness)| {
        known.last_complete.is_some() && is_stale(known.last_complete, limits, now)
    };
    let valid_until = valid_until(false, None, now);
    Decision {
        product: question.product.id.clone(),
        state,
        usable: false,
        reason,
        source: None,
        proof: None,
        plan: None,
        features: Features::default(),
        period_end: None,
        grace_end: None,
        notice: None,
        as_of: if never { None } else { Some(oldest.unwrap_or(now)) },
        stale: sources().any(is_old),
        check_after_s: check_after_s(state, reason, valid_until, now),
        valid_until,
        seat: None,
        license_refused: question.license_refused,
    }
}

/// The sources that could have held evidence for a channel that speaks here: the subscriptions for
/// a tenant, its directory for a user.
pub(super) fn relevant<'p>(
    question: &Question<'_>,
    knowledge: &Knowledge,
    policy: &'p Policy,
) -> [Option<(Known, &'p Freshness)>; 2] {
    let tenant = question.keyed_tenant();
    let sells = |channel| {
        question.product.sells_on(channel)
            && host::speaks(channel, question.host)
            && host::speaks_in_cloud(channel, knowledge.cloud)
    };
    let subscriptions = tenant.is_some() && sells(Channel::Saas);
    let by_user = sells(Channel::Appsource) || sells(Channel::IsvApp);
    let directory = tenant.is_some() && question.user.is_some() && by_user;
    [
        subscriptions.then_some((knowledge.subscriptions, &policy.subscriptions)),
        directory.then_some((knowledge.directory, &policy.directory)),
    ]
}

/// Why it is not known what a source holds; `None` if it is.
fn why_unread(known: Known, limits: &Freshness, policy: &Policy, now: Timestamp) -> Option<Reason> {
    if known.refused {
        Some(Reason::NoConsent)
    } else if known.last_complete.is_none() {
        Some(Reason::NeverRead)
    } else if known.unread {
        Some(Reason::RecordUnread)
    } else if known.rights_unread {
        Some(if policy.usage_rights { Reason::RightsUnread } else { Reason::RightsOff })
    } else {
        is_distrusted(known.last_complete, limits, now).then_some(Reason::Stale)
    }
}

fn why_unlicensed(question: &Question<'_>, left: Option<Reason>, knowledge: &Knowledge) -> Reason {
    let product = question.product;
    let by_user = |channel| product.sells_on(channel) && host::speaks(channel, question.host);
    let by_user = by_user(Channel::Appsource) || by_user(Channel::IsvApp);
    if question.license_refused {
        Reason::LicenseNotRecognized
    } else if let Some(reason) = left {
        reason
    } else if host::shuts_out(product, question.host, knowledge.cloud) {
        Reason::HostUnsupported
    } else if question.personal_account {
        Reason::PersonalAccount
    } else if by_user && question.tenant.is_some() && question.user.is_none() {
        Reason::UserNeeded
    } else {
        Reason::NotLicensed
    }
}

/// Until when an answer may be kept: never past the end of what it rests on, never before now.
fn valid_until(usable: bool, end: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let long = if usable { USABLE_FOR } else { REFUSED_FOR };
    let until = now.saturating_add(long).unwrap_or(now);
    end.filter(|end| *end > now).map_or(until, |end| until.min(end))
}

fn check_after_s(state: State, reason: Reason, valid_until: Timestamp, now: Timestamp) -> u64 {
    let refused_for = REFUSED_FOR.as_secs().unsigned_abs();
    let after = match state {
        State::Active | State::Trial | State::Grace => CHECK_AFTER_S,
        // Nothing is on its way that would tell.
        State::Unknown if reason == Reason::RightsOff => refused_for,
        State::Pending | State::Unknown => CHECK_SOON_AFTER_S,
        State::Suspended | State::Expired | State::Unlicensed => refused_for,
    };
    let valid_s = valid_until.duration_since(now).as_secs();
    u64::try_from(valid_s).map_or(0, |valid_s| after.min(valid_s))
}
