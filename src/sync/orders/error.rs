//! Why an order came to nothing, told by what a person must do about it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::SubscriptionId;
use crate::microsoft::{ErrorKind, MicrosoftError};
use crate::store::StoreError;

/// An order came to nothing, or nobody knows. `Display` says what is wrong and what to do, in words
/// that hold no token, secret or e-mail address.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The purchase token is older than 24 hours, or not genuine.
    #[error(
        "the purchase link has expired or is not genuine: open the subscription in the Azure \
         portal or the Microsoft 365 admin center and choose to configure (or manage) the account \
         again, which makes a new link"
    )]
    Expired,
    /// Microsoft knows no such subscription of ours.
    #[error("Microsoft knows no subscription {0}: compare the id with `entitled subscriptions`")]
    Unknown(SubscriptionId),
    /// It is over for good.
    #[error(
        "subscription {0} has ended (Unsubscribed), which is for good: the customer has to buy \
         again, which makes a new subscription"
    )]
    Ended(SubscriptionId),
    /// Payment failed.
    #[error(
        "subscription {0} is suspended, since a payment failed: the customer has to pay, which \
         reinstates it; until then nothing can be changed"
    )]
    Suspended(SubscriptionId),
    /// Not activated yet.
    #[error(
        "subscription {0} is not activated: do that first (`entitled subscriptions activate {0}`)"
    )]
    NotActive(SubscriptionId),
    /// The activation failed at Microsoft.
    #[error(
        "Microsoft took the activation of subscription {0}, could not carry it out and has ended \
         the subscription: the customer has to buy again, and if that fails too, ask Microsoft's \
         support"
    )]
    NotActivated(SubscriptionId),
    /// A purchase through a reseller, usually.
    #[error(
        "`{needed}` is not among the operations Microsoft allows for subscription {id}, as for most \
         purchases through a reseller: the customer has to ask where they bought it"
    )]
    NotAllowed {
        /// The subscription.
        id: SubscriptionId,
        /// `Update` or `Delete`.
        needed: &'static str,
    },
    /// This customer cannot have that plan.
    #[error(
        "Microsoft does not offer plan `{plan}` to this customer; offered are: {offered} (--force \
         asks all the same)"
    )]
    NotOffered {
        /// The plan.
        plan: Arc<str>,
        /// Those that are.
        offered: Arc<str>,
    },
    /// No longer sold.
    #[error("plan `{0}` is no longer sold: choose another (--force asks all the same)")]
    StopSell(Arc<str>),
    /// No seats to change.
    #[error(
        "plan `{0}` is sold at a flat rate and has no seats to change: change the plan instead"
    )]
    FlatRate(Arc<str>),
    /// More or fewer seats than the plan has.
    #[error("plan `{plan}` has {} seats: choose a number of these", range(*least, *most))]
    Seats {
        /// The plan.
        plan: Arc<str>,
        /// As few.
        least: u64,
        /// As many, if there is a limit.
        most: Option<u64>,
    },
    /// Paid for a year or longer.
    #[error(
        "subscription {id} was bought more than 72 hours ago for a year or longer{}: nobody but the \
         customer can end it, in the marketplace (--force asks all the same)",
        until(*over)
    )]
    LongTerm {
        /// The subscription.
        id: SubscriptionId,
        /// When its term is over.
        over: Option<Timestamp>,
    },
    /// Microsoft took it and did not do it.
    #[error(
        "Microsoft took the order and could not carry it out (operation {operation}): nothing has \
         changed; if it fails again, ask Microsoft's support with that id"
    )]
    Failed {
        /// The operation.
        operation: Arc<str>,
    },
    /// It was taken, and its end cannot be read.
    #[error(
        "Microsoft took the order as operation {operation} and it goes on there, but its end cannot \
         be read: {because}"
    )]
    Lost {
        /// The operation.
        operation: Arc<str>,
        /// Why not.
        because: Box<OrderError>,
    },
    /// No such operation.
    #[error(
        "Microsoft knows no operation {0} of this subscription (any more): what came of it shows \
         the subscription"
    )]
    NoOperation(Arc<str>),
    /// Microsoft's or the customer's doing, not to be ordered.
    #[error("the operation is no order but a `{0}`, which the webhook's inbox follows")]
    NoOrder(Arc<str>),
    /// An order of ours on the same subscription is under way.
    #[error(
        "another order on subscription {0} is under way here: wait until it has ended (`entitled \
         changes --subscription {0}` shows it)"
    )]
    Busy(SubscriptionId),
    /// An operation at Microsoft holds the lock.
    #[error(
        "another operation on subscription {0} is going on at Microsoft: try again in some minutes, \
         when it has ended"
    )]
    Locked(SubscriptionId),
    /// Microsoft will not, and the subscription does not show why.
    #[error("Microsoft refuses: {0}")]
    Rejected(MicrosoftError),
    /// Our app may not do this.
    #[error("{0}")]
    Registration(MicrosoftError),
    /// Microsoft cannot be read at the moment; nothing has changed.
    #[error("Microsoft does not answer as it should; nothing was changed, try again later: {0}")]
    Away(MicrosoftError),
    /// Microsoft answered with something that cannot be understood; nothing was changed.
    #[error("what Microsoft answers cannot be understood; nothing was changed: {0}")]
    Unreadable(Arc<str>),
    /// It may have happened or not, and Microsoft could not be read back.
    #[error(
        "whether it happened is not known: Microsoft did not say and cannot be read back either; \
         before asking again look at `entitled subscriptions show {id}`, which follows as soon as \
         Microsoft can be read ({because})"
    )]
    Unsure {
        /// The subscription.
        id: SubscriptionId,
        /// What went wrong.
        because: MicrosoftError,
    },
    /// The activation may have been taken; the subscription does not show it (yet).
    #[error(
        "Microsoft did not say whether it took the activation, and the subscription still waits \
         for one: try again, activating twice does no harm ({0})"
    )]
    PerhapsActivated(MicrosoftError),
    /// The store cannot take it.
    #[error("the store cannot be written; look at the daemon's log")]
    Store(#[from] StoreError),
    /// The daemon stops.
    #[error(
        "the daemon stops: what was asked of Microsoft goes on there, and shows after the next start"
    )]
    Stopping,
}

impl OrderError {
    /// Whether the same order may well succeed a little later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Away(_)
            | Self::Unsure { .. }
            | Self::PerhapsActivated(_)
            | Self::Busy(_)
            | Self::Locked(_)
            | Self::Store(_)
            | Self::Stopping => true,
            Self::Expired
            | Self::Unknown(_)
            | Self::Ended(_)
            | Self::Suspended(_)
            | Self::NotActive(_)
            | Self::NotActivated(_)
            | Self::NotAllowed { .. }
            | Self::NotOffered { .. }
            | Self::StopSell(_)
            | Self::FlatRate(_)
            | Self::Seats { .. }
            | Self::LongTerm { .. }
            | Self::Failed { .. }
            | Self::Lost { .. }
            | Self::NoOperation(_)
            | Self::NoOrder(_)
            | Self::Rejected(_)
            | Self::Registration(_)
            | Self::Unreadable(_) => false,
        }
    }

    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unknown(_) => "unknown",
            Self::Ended(_) => "ended",
            Self::Suspended(_) => "suspended",
            Self::NotActive(_) => "not_active",
            Self::NotActivated(_) => "not_activated",
            Self::NotAllowed { .. } => "not_allowed",
            Self::NotOffered { .. } => "not_offered",
            Self::StopSell(_) => "stop_sell",
            Self::FlatRate(_) => "flat_rate",
            Self::Seats { .. } => "seats",
            Self::LongTerm { .. } => "long_term",
            Self::Failed { .. } => "failed",
            Self::Lost { .. } => "lost",
            Self::NoOperation(_) => "no_operation",
            Self::NoOrder(_) => "no_order",
            Self::Busy(_) => "busy",
            Self::Locked(_) => "locked",
            Self::Rejected(_) => "rejected",
            Self::Registration(_) => "registration",
            Self::Away(_) => "away",
            Self::Unreadable(_) => "unreadable",
            Self::Unsure { .. } | Self::PerhapsActivated(_) => "unsure",
            Self::Store(_) => "store",
            Self::Stopping => "stopping",
        }
    }

    /// The same, of an order that was taken before it could no longer be followed.
    pub(super) fn after(self, operation: Arc<str>) -> Self {
        if matches!(self, Self::Failed { .. } | Self::Stopping | Self::Store(_)) {
            return self;
        }
        Self::Lost { operation, because: Box::new(self) }
    }

    /// What a failed call about this subscription means, when it changed nothing.
    pub(super) fn of(id: SubscriptionId, error: MicrosoftError) -> Self {
        match error.kind() {
            ErrorKind::Transient | ErrorKind::Throttled => Self::Away(error),
            ErrorKind::Consent | ErrorKind::Credential => Self::Registration(error),
            ErrorKind::NotFound => Self::Unknown(id),
            ErrorKind::Rejected => Self::Rejected(error),
            ErrorKind::Locked => Self::Locked(id),
            ErrorKind::Resync
            | ErrorKind::RestartSequence
            | ErrorKind::National
            | ErrorKind::Unreadable
            | ErrorKind::Refused => Self::Unreadable(error.to_string().into()),
        }
    }
}

fn range(least: u64, most: Option<u64>) -> String {
    match most {
        Some(most) => format!("{least} to {most}"),
        None => format!("{least} or more"),
    }
}

/// The last day of a term that is over then.
fn until(over: Option<Timestamp>) -> String {
    let last = over.and_then(|it| it.checked_sub(SignedDuration::from_hours(24)).ok());
    last.map(|it| format!(" (until {})", it.strftime("%Y-%m-%d"))).unwrap_or_default()
}
