//! Why an order came to nothing, told by what a person must do about it.

use std::sync::Arc;

use crate::domain::{SubscriptionId, SubscriptionStatus};
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
    /// Its status does not allow it.
    #[error("subscription {id} is {}: {needs}", status.as_str())]
    Status {
        /// The subscription.
        id: SubscriptionId,
        /// Where it stands.
        status: SubscriptionStatus,
        /// What would have to be, and how to get there.
        needs: &'static str,
    },
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
            | Self::Status { .. }
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
            Self::Status { .. } => "status",
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
