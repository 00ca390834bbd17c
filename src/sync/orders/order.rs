//! Orders, and what becomes of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Cause, Subscription};
use crate::microsoft::AvailablePlan;

/// What a purchase token stands for.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// The subscription, read on its own: what the token brings may lack the term.
    pub subscription: Subscription,
    /// Its plan with name and prices, where Microsoft tells it: the present plan may be missing
    /// from the list of plans, and an ended subscription has none.
    pub plan: Option<AvailablePlan>,
}

/// What became of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// Microsoft took it; until it takes effect, which may need minutes, the subscription reads as
    /// before: see [`super::Orders::look`].
    Accepted(Subscription),
    /// It is live.
    Already(Subscription),
}

impl Activated {
    /// The subscription as it was read last.
    pub const fn subscription(&self) -> &Subscription {
        match self {
            Self::Accepted(it) | Self::Already(it) => it,
        }
    }
}

/// What a subscription is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// One of this plan, an id.
    Plan(Arc<str>),
    /// One of this many seats.
    Quantity(u64),
    /// One that has ended.
    Cancel,
}

impl Order {
    /// The order, and what there is in its place.
    pub(super) fn over(&self, before: &Subscription) -> String {
        match self {
            Self::Plan(_) => format!("{self} in place of {}", before.plan),
            Self::Quantity(_) => match before.quantity {
                Some(quantity) => format!("{self} in place of {quantity}"),
                None => self.to_string(),
            },
            Self::Cancel => self.to_string(),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(plan) => write!(f, "plan {plan}"),
            Self::Quantity(quantity) => write!(f, "quantity {quantity}"),
            Self::Cancel => f.write_str("the end"),
        }
    }
}

/// An order and how it is to be carried out.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub order: Order,
    /// Who asks.
    pub by: Cause,
    /// Whether Microsoft is asked what it offers and allows, in place of refusing here.
    pub force: bool,
    /// Whether it is followed to its end.
    pub wait: bool,
}

/// Where an order is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderStep {
    /// Microsoft took it.
    Accepted {
        /// As this operation.
        operation: Arc<str>,
    },
    /// It was looked at.
    Looked {
        /// Microsoft's word for where the operation, or the subscription, stands.
        status: Arc<str>,
        /// How long it has been waited for.
        waited: Duration,
    },
    /// Something went wrong: what is true is being read.
    ReadingBack {
        /// What went wrong.
        because: Arc<str>,
    },
    /// It is done, and the subscription does not show it yet.
    Unseen,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEnd {
    /// It was so before: nothing was asked, or what was asked changed nothing.
    Already,
    /// Done, as the subscription shows.
    Done,
    /// Done, as Microsoft says; the subscription does not show it yet. The list and a webhook will.
    DoneUnseen,
    /// It goes on at Microsoft and was not waited for to the end.
    UnderWay,
}

impl OrderEnd {
    /// A stable word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Already => "already",
            Self::Done => "done",
            Self::DoneUnseen => "done_unseen",
            Self::UnderWay => "under_way",
        }
    }
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The subscription as it was read last.
    pub subscription: Subscription,
    /// The operation that Microsoft made of it, if it is known.
    pub operation: Option<Arc<str>>,
    /// How it ended.
    pub end: OrderEnd,
}

impl Ordered {
    pub(super) fn already(subscription: Subscription) -> Self {
        Self { subscription, operation: None, end: OrderEnd::Already }
    }
}

impl From<Activated> for Ordered {
    fn from(it: Activated) -> Self {
        let end = match it {
            Activated::Accepted(_) => OrderEnd::UnderWay,
            Activated::Already(_) => OrderEnd::Already,
        };
        let (Activated::Accepted(subscription) | Activated::Already(subscription)) = it;
        Self { subscription, operation: None, end }
    }
}

/// What an order would mean.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The subscription as it is now.
    pub subscription: Subscription,
    /// Its plan with name and prices, where Microsoft tells it.
    pub plan: Option<AvailablePlan>,
    /// Whether it is so already.
    pub already: bool,
    /// What it means for those who pay: whole sentences.
    pub notes: Vec<String>,
}
