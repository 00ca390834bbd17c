//! An event on its way to one of the publisher's own systems, and how far it is.

use std::sync::Arc;

use jiff::Timestamp;

use super::NoticeKind;

/// The place of an event in the order in which they came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeNumber(pub u64);

/// An event for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place.
    pub number: NoticeNumber,
    /// The endpoint's configured name.
    pub endpoint: Arc<str>,
    /// What it is known by outside (`webhook-id`): the same for all endpoints, in every try and
    /// after every restart.
    pub id: Arc<str>,
    /// Which event.
    pub kind: NoticeKind,
    /// What it is about.
    pub subject: Arc<str>,
    /// When we learned of it.
    pub at: Timestamp,
    /// What is sent, to the byte.
    pub body: Arc<str>,
    /// How often it was sent in vain since it was new or replayed.
    pub tries: u32,
    /// When it was first sent in vain since then.
    pub first_try: Option<Timestamp>,
    /// When it was last sent in vain.
    pub last_try: Option<Timestamp>,
    /// What was wrong the last time; nothing of the body, no secret.
    pub error: Option<Arc<str>>,
    /// How far it is.
    pub state: DeliveryState,
}

/// How far an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent.
    Waiting {
        /// Not before; `None` means at once.
        due: Option<Timestamp>,
    },
    /// The endpoint has it.
    Sent {
        /// Since when.
        at: Timestamp,
    },
    /// Given up: an operator may replay it.
    Dead {
        /// Since when.
        at: Timestamp,
    },
}

impl Delivery {
    /// To be sent as if it were new.
    #[must_use]
    pub fn anew(&self) -> Self {
        let state = DeliveryState::Waiting { due: None };
        Self { tries: 0, first_try: None, last_try: None, error: None, state, ..self.clone() }
    }

    /// Given up.
    #[must_use]
    pub fn dead(&self, why: &str, at: Timestamp) -> Self {
        let state = DeliveryState::Dead { at };
        Self { error: Some(why.into()), state, ..self.clone() }
    }
}

/// What a commit does to the outbox.
#[derive(Clone, Debug)]
pub enum DeliveryWrite {
    /// It stands like this now.
    Put(Arc<Delivery>),
    /// It is long over.
    Forget(NoticeNumber, Arc<str>),
}
