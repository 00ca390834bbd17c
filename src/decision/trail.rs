//! The explanation of a decision: each piece of evidence, how it was judged, and the rule that
//! dropped it or beat it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::decide::relevant;
use super::evidence::{Covered, Evidence, EvidenceKind, Knowledge, Known, License, Question, Seat};
use super::judge::{Counting, Verdict, is_distrusted, is_stale, judge};
use super::{Reason, State};
use crate::domain::{AssignmentError, Channel, Policy, ServiceId, Source, Via};

/// How a decision came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// The evidence: what decided first, then what it beat, best first, then what was dropped.
    pub steps: Vec<Step>,
    /// The sources that could have held evidence, and how far they have been read.
    pub sources: Vec<SourceStep>,
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which kind of evidence: what an answer that it decides stands on.
    pub evidence: EvidenceKind,
    /// Its id at its source.
    pub id: String,
    /// The channel it speaks for.
    pub channel: Channel,
    /// The plan it is one of.
    pub plan: Option<ServiceId>,
    /// What its source says of it.
    pub says: String,
    /// What it was judged.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// When what was paid for ends or ended.
    pub period_end: Option<Timestamp>,
    /// When the grace after it ends.
    pub grace_end: Option<Timestamp>,
    /// When what it says was true.
    pub as_of: Option<Timestamp>,
    /// Whether that is longer ago than the source's `max_age`.
    pub stale: bool,
    /// What became of it.
    pub fate: Fate,
    /// The rule that made it so, as a sentence.
    pub rule: String,
}

/// What became of a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It decided.
    Decided,
    /// Another one was better.
    Beaten,
    /// It did not take part in the choice.
    Dropped,
}

impl Fate {
    /// The word that programs rely on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Beaten => "beaten",
            Self::Dropped => "dropped",
        }
    }
}

/// A source that could have held evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStep {
    /// Which source.
    pub source: Source,
    /// When its last complete read began.
    pub last_complete: Option<Timestamp>,
    /// What that means for the answer, as a sentence.
    pub says: &'static str,
}

impl Trail {
    /// The trail of the decision that [`super::decide()`] makes of the same arguments.
    pub fn new(
        question: &Question<'_>,
        evidence: &[Evidence<'_>],
        knowledge: &Knowledge,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let judged = evidence.iter().map(|it| (it, judge(it, question, knowledge, policy, now)));
        let mut judged: Vec<(&Evidence<'_>, Verdict<'_>)> = judged.collect();
        let dropped = |it: &Verdict<'_>| it.counting != Counting::Counts;
        judged.sort_by(|(_, a), (_, b)| dropped(a).cmp(&dropped(b)).then_with(|| a.order(b)));
        let winner = judged.first().map(|(_, it)| *it).filter(|it| !dropped(it));
        let steps = judged.iter().enumerate().map(|(i, (evidence, verdict))| {
            let (fate, rule) = match winner {
                Some(_) if i == 0 => (Fate::Decided, "it is the best there is (rule 1)".to_owned()),
                Some(winner) if !dropped(verdict) => (Fate::Beaten, beaten(verdict, &winner)),
                Some(_) | None => (Fate::Dropped, why_dropped(evidence, verdict, question)),
            };
            step(evidence, verdict, fate, rule)
        });
        let [subscriptions, directory] = relevant(question, knowledge, policy);
        let sources = [(Source::Subscriptions, subscriptions), (Source::Directory, directory)];
        let sources = sources.into_iter().filter_map(|(source, it)| {
            let (known, limits) = it?;
            let (stale, distrusted) = (
                is_stale(known.last_complete, limits, now),
                is_distrusted(known.last_complete, limits, now),
            );
            let says = source_says(known, policy, stale, distrusted);
            Some(SourceStep { source, last_complete: known.last_complete, says })
        });
        Self { steps: steps.collect(), sources: sources.collect() }
    }
}

const fn source_says(known: Known, policy: &Policy, stale: bool, distrusted: bool) -> &'static str {
    match (known.refused, known.last_complete.is_some()) {
        (true, false) => "never read: there is no consent (rule 7)",
        (true, true) => "may not be read any more: what was found keeps counting (rules 7 and 8)",
        (false, false) => "never completely read (rule 7)",
        (false, true) if known.unread => {
            "read, but something in it that could be a right could not be understood (rule 7)"
        }
        (false, true) if known.rights_unread && !policy.usage_rights => {
            "read, but it does not list the tenant's licences, and usage rights are switched off: \
             [sync.directory] rights (rule 7)"
        }
        (false, true) if known.rights_unread => {
            "read, but it does not list the tenant's licences, and this user's usage rights were \
             not read, or came empty where none were ever seen (rule 7)"
        }
        (false, true) if distrusted => "read, but longer ago than it is trusted (rule 8)",
        (false, true) if stale => "read, but longer ago than its max_age (rule 8)",
        (false, true) => "read and fresh",
    }
}

fn beaten(verdict: &Verdict<'_>, winner: &Verdict<'_>) -> String {
    let features = |it: &Verdict<'_>| it.features.map_or(0, |it| it.len());
    if verdict.state != winner.state {
        format!("{} is better than {} (rule 1)", winner.state, verdict.state)
    } else if features(verdict) != features(winner) {
        format!("as good, but with fewer features than {} (rule 1)", winner.channel)
    } else if verdict.end() != winner.end() {
        "as good, but it ends sooner (rule 1)".to_owned()
    } else {
        "equal in state, features and end (rule 1)".to_owned()
    }
}

fn why_dropped(evidence: &Evidence<'_>, verdict: &Verdict<'_>, question: &Question<'_>) -> String {
    match verdict.counting {
        Counting::Counts => String::new(),
        Counting::NoRight => match evidence {
            Evidence::License(_) => format!(
                "hybrid = \"{}\" takes no license proven like this (rule 5)",
                question.product.hybrid
            ),
            Evidence::Seat(_) | Evidence::Subscription(_) | Evidence::UsageRight(_) => {
                "it is no seat (rule 2)".to_owned()
            }
        },
        Counting::ShutOut => format!(
            "channel {} does not count in host {} here (rule 6)",
            verdict.channel, question.host
        ),
    }
}

fn step(evidence: &Evidence<'_>, verdict: &Verdict<'_>, fate: Fate, rule: String) -> Step {
    let (id, says) = match evidence {
        Evidence::Subscription(it) => {
            let says = format!("{}, {}", it.subscription.status.as_str(), cover(it.covered));
            (it.subscription.id.to_string(), says)
        }
        Evidence::Seat(it) => (it.sku.id.to_string(), seat_says(it)),
        Evidence::License(it) => (it.id.to_owned(), license_says(it)),
        Evidence::UsageRight(it) => (it.plan.service_id.to_string(), it.state.to_owned()),
    };
    Step {
        evidence: evidence.kind(),
        id,
        channel: verdict.channel,
        plan: verdict.plan.map(|it| it.service_id.clone()),
        says,
        state: verdict.state,
        reason: verdict.reason,
        period_end: verdict.period_end,
        grace_end: verdict.grace_end,
        as_of: verdict.as_of,
        stale: verdict.stale,
        fate,
        rule,
    }
}

fn cover(covered: Covered) -> &'static str {
    match covered {
        Covered::Tenant => "covers the whole tenant",
        Covered::HoldsSeat(_) => "the user holds a seat",
        Covered::SeatFree(_) => "a seat is free for the user",
        Covered::NoneFree => "no seat is free",
        Covered::NoUser => "has seats for users",
    }
}

/// The SKU's status and every path: `Enabled; group 5f…: Error CountViolation; direct: Active`.
fn seat_says(seat: &Seat<'_>) -> String {
    let mut says = seat.sku.status.as_str().to_owned();
    for path in &seat.licence.paths {
        says.push_str("; ");
        let written = match path.via {
            Via::Direct => write!(says, "direct: {}", path.state.as_str()),
            Via::Group(group) => write!(says, "group {group}: {}", path.state.as_str()),
        };
        debug_assert!(written.is_ok(), "a String takes every write");
        if let Some(error) = &path.error {
            let error = AssignmentError::from_word(error);
            let known = error.as_ref().map(|it| format!(" {} ({})", it.as_str(), it.meaning()));
            says.push_str(&known.unwrap_or_default());
        }
    }
    if !seat.licence.assigned {
        says.push_str("; not in assignedLicenses");
    }
    says
}

fn license_says(license: &License<'_>) -> String {
    format!("{:?} license, {:?}, proven by {:?}", license.kind, license.standing, license.proof)
}
