//! A webhook of the marketplace: what it says, and how far we are with it. A webhook is a hint: what
//! it says is never believed, only looked up.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Action, NoteKey, RawRecord, SubscriptionId, WebhookNote};

/// The place of a webhook in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

/// What a webhook's body names, as far as it names it.
///
/// Source: `marketplace-saas.md` sections 8.3 and 8.4: anything may be missing or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The operation's id, if the body has one that can be an id.
    pub operation: Option<Arc<str>>,
    /// What is said to happen.
    pub action: Action,
    /// To which subscription.
    pub subscription: Option<SubscriptionId>,
    /// The plan that is asked for.
    pub plan: Option<Arc<str>>,
    /// The number of seats that is asked for.
    pub quantity: Option<u64>,
}

impl Announcement {
    /// Whether this is the delivery of one event again: Microsoft repeats what it thinks was not
    /// heard. Without an operation's id nothing can be told to be the same.
    pub fn repeats(&self, other: &Self) -> bool {
        self.operation.is_some() && self.operation == other.operation && self.action == other.action
    }
}

/// A webhook that was acknowledged, so that it is never lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// Its place.
    pub id: EventId,
    /// What it says.
    pub said: Announcement,
    /// When it first came.
    pub received: Timestamp,
    /// How often it came.
    pub deliveries: u32,
    /// How often looking it up failed through what was found, not through Microsoft being away.
    pub tries: u32,
    /// Whether a look at it has changed the mirror.
    pub changed: bool,
    /// What Microsoft was answered, if it asked.
    pub answered: Option<Answered>,
    /// How far we are.
    pub state: EventState,
}

/// What became of Microsoft's question whether a change may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Yes.
    Accepted,
    /// No.
    Refused,
    /// Microsoft had decided already.
    TooLate,
    /// Microsoft wants no answer to it.
    NotTaken,
}

impl Answered {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::TooLate => "too late",
            Self::NotTaken => "not taken",
        }
    }
}

/// How far we are with a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventState {
    /// To be looked up, or looked up and not over.
    Waiting,
    /// Over: the mirror has what Microsoft says.
    Done {
        /// Since when.
        at: Timestamp,
        /// What came of it.
        outcome: EventOutcome,
    },
    /// Given up: an operator should look at it.
    Dead {
        /// Since when.
        at: Timestamp,
        /// What was wrong; no secrets, no names.
        why: Arc<str>,
    },
}

impl EventState {
    /// Since when nothing more will be done.
    pub fn over_since(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting => None,
            Self::Done { at, .. } | Self::Dead { at, .. } => Some(*at),
        }
    }

    /// For people and programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done { outcome, .. } => outcome.as_str(),
            Self::Dead { .. } => "dead",
        }
    }
}

/// What came of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// The subscription differed and was brought up to date.
    Changed,
    /// The mirror knew it already.
    Known,
    /// Microsoft says something else than the webhook did: what Microsoft says was taken.
    Mismatched,
    /// Microsoft knows no such operation: the subscription was read anew.
    UnknownOperation,
}

impl EventOutcome {
    /// For people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Known => "known",
            Self::Mismatched => "mismatched",
            Self::UnknownOperation => "unknown_operation",
        }
    }
}

/// What a commit does to the inbox.
#[derive(Clone, Debug)]
pub enum EventWrite {
    /// It has come: it is kept with its body as it came.
    Arrived(Arc<WebhookEvent>, RawRecord),
    /// It stands like this now. Its body goes once it is done.
    Put(Arc<WebhookEvent>),
    /// It is long over.
    Forget(EventId),
    /// Something that no webhook tells.
    Noted(WebhookNote),
    /// That is long over.
    ForgetNote(NoteKey),
}

/// What became of a webhook that was handed to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is new, and on disk.
    New,
    /// It had come before, and is on disk.
    Duplicate,
    /// Too many wait: it was not taken.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operation_may_be_announced_by_two_actions_and_each_of_them_twice() {
        let said = |operation: Option<&str>, action| Announcement {
            operation: operation.map(Arc::from),
            action,
            subscription: None,
            plan: None,
            quantity: None,
        };
        let check = |one: &Announcement, other: &Announcement, repeats| {
            assert_eq!(one.repeats(other), repeats, "{one:?} {other:?}");
        };
        let renew = said(Some("a"), Action::Renew);
        check(&renew, &Announcement { quantity: Some(3), ..renew.clone() }, true);
        check(&renew, &said(Some("a"), Action::Subscribe), false);
        check(&renew, &said(Some("b"), Action::Renew), false);
        check(&said(None, Action::Renew), &said(None, Action::Renew), false);
    }
}
