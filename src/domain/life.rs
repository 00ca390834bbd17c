//! The life of a subscription: which steps Microsoft documents, and which one two readings show.
//!
//! Source of all: `marketplace-saas.md` sections 9 and 9.2.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{Subscription, SubscriptionStatus};

/// How long a purchase may wait for its activation. An older source says 48 hours; recorded
/// purchases of 6 to 19 days that still waited speak for 30 days.
///
/// Source: section 9.2; unconfirmed (section 12).
pub const ACTIVATION_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long a suspended subscription can be reinstated.
///
/// Source: section 9.2.
pub const SUSPENSION_GRACE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long after a purchase it can be cancelled without cost; after that the publisher cannot
/// cancel a yearly one at all.
///
/// Source: section 9.2, and trap 29 of section 11.
pub const FREE_CANCELLATION: SignedDuration = SignedDuration::from_hours(72);

/// The least that a customer's data is kept after a cancellation.
///
/// Source: section 9.2.
pub const RETENTION_LEAST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A state of the table: the status, or that there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not bought yet.
    None,
    /// `PendingFulfillmentStart`.
    Pending,
    /// `Subscribed`.
    Subscribed,
    /// `Suspended`.
    Suspended,
    /// `Unsubscribed`.
    Unsubscribed,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Pending, Self::Subscribed, Self::Suspended, Self::Unsubscribed];

    /// The stage of a status; `None` for a word that Microsoft added later.
    pub const fn of(status: &SubscriptionStatus) -> Option<Self> {
        match status {
            SubscriptionStatus::PendingFulfillmentStart => Some(Self::Pending),
            SubscriptionStatus::Subscribed => Some(Self::Subscribed),
            SubscriptionStatus::Suspended => Some(Self::Suspended),
            SubscriptionStatus::Unsubscribed => Some(Self::Unsubscribed),
            SubscriptionStatus::Unrecognized(_) => None,
        }
    }
}

/// What happens to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// It was bought.
    Purchase,
    /// It was bought, and its plan activates itself.
    AutoActivation,
    /// We activated it.
    Activation,
    /// We asked for its activation, and that failed in the background.
    ActivationFailed,
    /// It was cancelled, or lapsed, before anybody activated it.
    CancelledBeforeActivation,
    /// A change of plan or quantity was asked for and is under way.
    ChangeAsked,
    /// Its plan changed.
    PlanChange,
    /// Its quantity changed.
    QuantityChange,
    /// A change of plan or quantity came to nothing.
    ChangeFailed,
    /// A new term began.
    Renewal,
    /// A payment failed.
    Suspension,
    /// Its term ended, and it was not to be renewed.
    TermEnd,
    /// The customer, a reseller or we cancelled it.
    Cancellation,
    /// The customer paid after all, and that is under way.
    ReinstatementAsked,
    /// It lives again.
    Reinstatement,
    /// Nobody paid within the grace of a suspension.
    GraceEnded,
    /// We ask for its activation again.
    ActivateRequest,
    /// We ask for another plan or quantity.
    PatchRequest,
}

impl Event {
    /// Its word in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::AutoActivation => "auto_activation",
            Self::Activation => "activation",
            Self::ActivationFailed => "activation_failed",
            Self::CancelledBeforeActivation => "cancelled_before_activation",
            Self::ChangeAsked => "change_asked",
            Self::PlanChange => "plan_change",
            Self::QuantityChange => "quantity_change",
            Self::ChangeFailed => "change_failed",
            Self::Renewal => "renewal",
            Self::Suspension => "suspension",
            Self::TermEnd => "term_end",
            Self::Cancellation => "cancellation",
            Self::ReinstatementAsked => "reinstatement_asked",
            Self::Reinstatement => "reinstatement",
            Self::GraceEnded => "grace_ended",
            Self::ActivateRequest => "activate_request",
            Self::PatchRequest => "patch_request",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an event leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To this stage, perhaps the same.
    To(Stage),
    /// Nowhere: Microsoft refuses it with this HTTP status.
    Refused(u16),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// In this stage,
    pub stage: Stage,
    /// this
    pub event: Event,
    /// leads there.
    pub leads: Leads,
    /// The row of section 9 that says so, counted from 1.
    pub number: u8,
}

const fn to(number: u8, stage: Stage, event: Event, to: Stage) -> Row {
    Row { stage, event, leads: Leads::To(to), number }
}

const fn refused(number: u8, stage: Stage, event: Event, status: u16) -> Row {
    Row { stage, event, leads: Leads::Refused(status), number }
}

/// The state machine, row by row.
///
/// Source: `marketplace-saas.md` section 9. Its row 18, "Unsubscribed, anything", is in [`leads`].
pub const TABLE: [Row; 20] = [
    to(1, Stage::None, Event::Purchase, Stage::Pending),
    to(2, Stage::None, Event::AutoActivation, Stage::Subscribed),
    to(3, Stage::Pending, Event::Activation, Stage::Subscribed),
    to(4, Stage::Pending, Event::ActivationFailed, Stage::Unsubscribed),
    to(5, Stage::Pending, Event::CancelledBeforeActivation, Stage::Unsubscribed),
    to(6, Stage::Subscribed, Event::ChangeAsked, Stage::Subscribed),
    to(7, Stage::Subscribed, Event::PlanChange, Stage::Subscribed),
    to(7, Stage::Subscribed, Event::QuantityChange, Stage::Subscribed),
    to(8, Stage::Subscribed, Event::ChangeFailed, Stage::Subscribed),
    to(9, Stage::Subscribed, Event::Renewal, Stage::Subscribed),
    to(10, Stage::Subscribed, Event::Suspension, Stage::Suspended),
    to(11, Stage::Subscribed, Event::TermEnd, Stage::Unsubscribed),
    to(12, Stage::Subscribed, Event::Cancellation, Stage::Unsubscribed),
    to(13, Stage::Suspended, Event::ReinstatementAsked, Stage::Suspended),
    to(14, Stage::Suspended, Event::Reinstatement, Stage::Subscribed),
    to(15, Stage::Suspended, Event::GraceEnded, Stage::Unsubscribed),
    to(16, Stage::Suspended, Event::Cancellation, Stage::Unsubscribed),
    refused(17, Stage::Suspended, Event::ActivateRequest, 400),
    refused(17, Stage::Suspended, Event::PatchRequest, 400),
    refused(19, Stage::Unsubscribed, Event::ActivateRequest, 404),
];

/// Where an event leads; `None` when Microsoft documents no such thing.
pub fn leads(stage: Stage, event: Event) -> Option<Leads> {
    let row = TABLE.iter().find(|it| it.stage == stage && it.event == event);
    match (row, stage) {
        (Some(row), _) => Some(row.leads),
        // Row 18: terminal, whatever happens.
        (None, Stage::Unsubscribed) => Some(Leads::To(Stage::Unsubscribed)),
        (None, _) => None,
    }
}

/// Whether some events, one after the other, lead from one stage to another.
fn is_reachable(from: Stage, to: Stage) -> bool {
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(stage) = reached.get(next).copied() {
        if stage == to {
            return true;
        }
        let steps = TABLE.iter().filter(|it| it.stage == stage);
        for row in steps {
            match row.leads {
                Leads::To(to) if !reached.contains(&to) => reached.push(to),
                Leads::To(_) | Leads::Refused(_) => {}
            }
        }
        next += 1;
    }
    false
}

/// What happened between two readings of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One event of the table.
    Documented(Event),
    /// Several: the mirror did not see what lay between.
    Several,
    /// Nothing of the table's: another name, the switch for renewal.
    Detail,
    /// Nothing that Microsoft documents. It is the authority all the same.
    Undocumented,
}

/// What happened between two readings. `since` is when the first was first seen in its status.
///
/// What looks alike in the readings is told apart by the time: a subscription that ends when its
/// deadline has passed ended by it.
pub fn step(before: Option<(&Subscription, Timestamp)>, after: &Subscription) -> Step {
    let Some(to) = Stage::of(&after.status) else {
        let stays = before.is_some_and(|(it, _)| it.status == after.status);
        return if stays { Step::Detail } else { Step::Undocumented };
    };
    let Some((before, since)) = before else {
        return match to {
            Stage::Pending => Step::Documented(Event::Purchase),
            Stage::Subscribed => Step::Documented(Event::AutoActivation),
            Stage::None | Stage::Suspended | Stage::Unsubscribed => Step::Several,
        };
    };
    // From a word that we do not know anything may follow.
    let Some(from) = Stage::of(&before.status) else { return Step::Several };
    if from == to {
        return within(from, before, after);
    }
    let at = after.observed_at;
    let past = |from: Option<Timestamp>, wait| {
        from.and_then(|it| it.checked_add(wait).ok()).is_some_and(|it| it <= at)
    };
    let event = match (from, to) {
        (Stage::Pending, Stage::Subscribed) => Event::Activation,
        (Stage::Pending, Stage::Unsubscribed) => Event::CancelledBeforeActivation,
        (Stage::Subscribed, Stage::Suspended) => Event::Suspension,
        (Stage::Subscribed, Stage::Unsubscribed) => {
            let ends = before.auto_renew == Some(false) || after.auto_renew == Some(false);
            let over = before.term_over().is_some_and(|it| it <= at);
            if ends && over { Event::TermEnd } else { Event::Cancellation }
        }
        (Stage::Suspended, Stage::Subscribed) => Event::Reinstatement,
        (Stage::Suspended, Stage::Unsubscribed) => {
            let over = past(Some(since), SUSPENSION_GRACE);
            if over { Event::GraceEnded } else { Event::Cancellation }
        }
        _ if is_reachable(from, to) => return Step::Several,
        _ => return Step::Undocumented,
    };
    Step::Documented(event)
}

fn within(stage: Stage, before: &Subscription, after: &Subscription) -> Step {
    if stage != Stage::Subscribed {
        return Step::Detail;
    }
    let plan = (before.plan != after.plan).then_some(Event::PlanChange);
    let quantity = (before.quantity != after.quantity).then_some(Event::QuantityChange);
    let renewed =
        (before.term_end < after.term_end && before.term_end.is_some()).then_some(Event::Renewal);
    let mut events = [plan, quantity, renewed].into_iter().flatten();
    match (events.next(), events.next()) {
        (None, _) => Step::Detail,
        (Some(event), None) => Step::Documented(event),
        (Some(_), Some(_)) => Step::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Party, SubscriptionId};
    use uuid::Uuid;

    fn at(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(days * 24)
    }

    fn seen(status: &str, day: i64) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: "team".into(),
            status: SubscriptionStatus::from_word(status),
            quantity: Some(5),
            beneficiary: Party { tenant: Some(Uuid::from_u128(9)), user: None },
            term_start: Some(at(0)),
            term_end: Some(at(29)),
            term_unit: Some("P1M".into()),
            auto_renew: Some(true),
            created: Some(at(0)),
            observed_at: at(day),
            ..Subscription::sample()
        }
    }

    #[test]
    fn every_row_of_section_9_is_in_the_table() {
        use Leads::{Refused, To};
        let check = |row: u8, stage, event, expected| {
            assert_eq!(leads(stage, event), Some(expected), "row {row}: {stage:?} {event}");
            let rows = TABLE.iter().filter(|it| (it.stage, it.event) == (stage, event));
            let numbers: Vec<u8> = rows.map(|it| it.number).collect();
            assert!(numbers == [row] || (row == 18 && numbers.is_empty()), "{numbers:?}");
        };
        check(1, Stage::None, Event::Purchase, To(Stage::Pending));
        check(2, Stage::None, Event::AutoActivation, To(Stage::Subscribed));
        check(3, Stage::Pending, Event::Activation, To(Stage::Subscribed));
        check(4, Stage::Pending, Event::ActivationFailed, To(Stage::Unsubscribed));
        check(5, Stage::Pending, Event::CancelledBeforeActivation, To(Stage::Unsubscribed));
        check(6, Stage::Subscribed, Event::ChangeAsked, To(Stage::Subscribed));
        check(7, Stage::Subscribed, Event::PlanChange, To(Stage::Subscribed));
        check(7, Stage::Subscribed, Event::QuantityChange, To(Stage::Subscribed));
        check(8, Stage::Subscribed, Event::ChangeFailed, To(Stage::Subscribed));
        check(9, Stage::Subscribed, Event::Renewal, To(Stage::Subscribed));
        check(10, Stage::Subscribed, Event::Suspension, To(Stage::Suspended));
        check(11, Stage::Subscribed, Event::TermEnd, To(Stage::Unsubscribed));
        check(12, Stage::Subscribed, Event::Cancellation, To(Stage::Unsubscribed));
        check(13, Stage::Suspended, Event::ReinstatementAsked, To(Stage::Suspended));
        check(14, Stage::Suspended, Event::Reinstatement, To(Stage::Subscribed));
        check(15, Stage::Suspended, Event::GraceEnded, To(Stage::Unsubscribed));
        check(16, Stage::Suspended, Event::Cancellation, To(Stage::Unsubscribed));
        check(17, Stage::Suspended, Event::ActivateRequest, Refused(400));
        check(17, Stage::Suspended, Event::PatchRequest, Refused(400));
        check(18, Stage::Unsubscribed, Event::Reinstatement, To(Stage::Unsubscribed));
        check(18, Stage::Unsubscribed, Event::Renewal, To(Stage::Unsubscribed));
        check(19, Stage::Unsubscribed, Event::ActivateRequest, Refused(404));
        assert_eq!(leads(Stage::Pending, Event::Suspension), None, "only Subscribed is suspended");
        assert_eq!(leads(Stage::Subscribed, Event::Reinstatement), None);
    }

    #[test]
    fn nothing_leads_out_of_the_end_or_back_to_the_beginning() {
        let later = [Stage::Pending, Stage::Subscribed, Stage::Suspended];
        for stage in later {
            assert!(!is_reachable(Stage::Unsubscribed, stage), "{stage:?}");
            assert!(!is_reachable(stage, Stage::None), "{stage:?}");
            assert!(is_reachable(stage, Stage::Unsubscribed) && is_reachable(Stage::None, stage));
        }
        assert!(!is_reachable(Stage::Subscribed, Stage::Pending));
    }

    #[test]
    fn two_readings_tell_which_event_lay_between() {
        let check = |before: Subscription, after: Subscription, expected: Step| {
            assert_eq!(step(Some((&before, before.observed_at)), &after), expected, "{after:?}");
        };
        let event = Step::Documented;
        let (pending, live) = ("PendingFulfillmentStart", "Subscribed");
        let (suspended, ended) = ("Suspended", "Unsubscribed");
        check(seen(pending, 1), seen(live, 2), event(Event::Activation));
        check(seen(pending, 1), seen(ended, 2), event(Event::CancelledBeforeActivation));
        check(seen(live, 1), seen(suspended, 2), event(Event::Suspension));
        check(seen(live, 1), seen(ended, 2), event(Event::Cancellation));
        check(seen(live, 1), seen(ended, 31), event(Event::Cancellation));
        let last = Subscription { auto_renew: Some(false), ..seen(live, 1) };
        check(last.clone(), seen(ended, 30), event(Event::TermEnd));
        check(last, seen(ended, 29), event(Event::Cancellation));
        check(seen(suspended, 1), seen(live, 2), event(Event::Reinstatement));
        check(seen(suspended, 1), seen(ended, 30), event(Event::Cancellation));
        check(seen(suspended, 1), seen(ended, 31), event(Event::GraceEnded));
        check(seen(pending, 1), seen(suspended, 9), Step::Several);

        let plan = Subscription { plan: "enterprise".into(), ..seen(live, 2) };
        check(seen(live, 1), plan.clone(), event(Event::PlanChange));
        let more = Subscription { quantity: Some(6), ..seen(live, 2) };
        check(seen(live, 1), more, event(Event::QuantityChange));
        let renewed = Subscription { term_end: Some(at(59)), ..seen(live, 30) };
        check(seen(live, 1), renewed, event(Event::Renewal));
        check(seen(live, 1), Subscription { quantity: None, ..plan }, Step::Several);
        check(seen(live, 1), Subscription { name: "m".into(), ..seen(live, 2) }, Step::Detail);

        check(seen(ended, 1), seen(live, 2), Step::Undocumented);
        check(seen(ended, 1), seen(suspended, 2), Step::Undocumented);
        check(seen(ended, 1), seen(pending, 2), Step::Undocumented);
        check(seen(live, 1), seen(pending, 2), Step::Undocumented);
        check(seen(suspended, 1), seen(pending, 2), Step::Undocumented);
        check(seen(live, 1), seen("Paused", 2), Step::Undocumented);
        check(seen("Paused", 1), seen(live, 2), Step::Several);
        check(seen("Paused", 1), seen("Paused", 2), Step::Detail);
    }

    #[test]
    fn the_first_reading_tells_a_purchase_or_a_life_that_nobody_watched() {
        let check = |status, expected| assert_eq!(step(None, &seen(status, 1)), expected);
        check("PendingFulfillmentStart", Step::Documented(Event::Purchase));
        check("Subscribed", Step::Documented(Event::AutoActivation));
        check("Suspended", Step::Several);
        check("Unsubscribed", Step::Several);
        check("Paused", Step::Undocumented);
    }
}
