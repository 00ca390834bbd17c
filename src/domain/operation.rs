//! What happens to a subscription: an operation's action, where it stands, and who asked for it.

use std::sync::Arc;

/// What an operation does to its subscription; an open set, for Microsoft adds to it.
///
/// Source: SaaS fulfillment v2, `action` (`marketplace-saas.md` sections 5.4 and 8.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Another plan; Microsoft accepts it by itself 10 seconds after asking.
    ChangePlan,
    /// Another number of seats; decided as [`Action::ChangePlan`] is.
    ChangeQuantity,
    /// Payment failed; it has already happened.
    Suspend,
    /// It ended; it has already happened.
    Unsubscribe,
    /// Paid again after a suspension.
    Reinstate,
    /// A new term began.
    Renew,
    /// It became live without us: auto-activation. No proof that it is new.
    Subscribe,
    /// A word that Microsoft added later, or none at all; kept as it is.
    Unrecognized(Arc<str>),
}

impl Action {
    /// The word, whatever its case and the spaces around it.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "changeplan" => Self::ChangePlan,
            "changequantity" => Self::ChangeQuantity,
            // The documentation once says `Suspended`; payloads say `Suspend`.
            "suspend" | "suspended" => Self::Suspend,
            "unsubscribe" => Self::Unsubscribe,
            "reinstate" => Self::Reinstate,
            "renew" => Self::Renew,
            "subscribe" => Self::Subscribe,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ChangePlan => "ChangePlan",
            Self::ChangeQuantity => "ChangeQuantity",
            Self::Suspend => "Suspend",
            Self::Unsubscribe => "Unsubscribe",
            Self::Reinstate => "Reinstate",
            Self::Renew => "Renew",
            Self::Subscribe => "Subscribe",
            Self::Unrecognized(word) => word,
        }
    }

    /// Whether Microsoft asks before it does it: only these two can be refused.
    pub fn asks(&self) -> bool {
        match self {
            Self::ChangePlan | Self::ChangeQuantity => true,
            Self::Suspend
            | Self::Unsubscribe
            | Self::Reinstate
            | Self::Renew
            | Self::Subscribe
            | Self::Unrecognized(_) => false,
        }
    }
}

/// Where an operation stands; an open set.
///
/// Source: SaaS fulfillment v2, `status` of an operation (`marketplace-saas.md` section 5.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OperationStatus {
    /// Accepted, not begun.
    NotStarted,
    /// Begun; the subscription still has its old plan and quantity.
    InProgress,
    /// Done.
    Succeeded,
    /// Not done: refused, or it went wrong.
    Failed,
    /// Not done: the subscription already has the plan or quantity that was asked for.
    Conflict,
    /// A word that Microsoft added later, or none at all; kept as it is.
    Unrecognized(Arc<str>),
}

impl OperationStatus {
    /// The word, whatever its case and the spaces around it; the documentation's `Success` and
    /// `Succeed` are [`OperationStatus::Succeeded`].
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "notstarted" => Self::NotStarted,
            "inprogress" => Self::InProgress,
            "succeeded" | "success" | "succeed" => Self::Succeeded,
            "failed" | "failure" => Self::Failed,
            "conflict" => Self::Conflict,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Conflict => "Conflict",
            Self::Unrecognized(word) => word,
        }
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Conflict => true,
            Self::NotStarted | Self::InProgress | Self::Unrecognized(_) => false,
        }
    }
}

/// Who asked for an operation.
///
/// Source: SaaS fulfillment v2, `operationRequestSource` (`marketplace-saas.md` section 5.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestSource {
    /// The customer or Microsoft itself.
    Azure,
    /// We did, by a call of ours: nothing to decide and never acknowledged.
    Partner,
    /// A word that Microsoft added later, or none at all; kept as it is.
    Unrecognized(Arc<str>),
}

impl RequestSource {
    /// The word, whatever its case and the spaces around it.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "azure" => Self::Azure,
            "partner" => Self::Partner,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Azure => "Azure",
            Self::Partner => "Partner",
            Self::Unrecognized(word) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_comes_back_as_it_was_and_unknown_ones_are_kept() {
        let actions = "ChangePlan ChangeQuantity Suspend Unsubscribe Reinstate Renew Subscribe";
        for word in actions.split(' ') {
            let action = Action::from_word(word);
            assert!(!matches!(action, Action::Unrecognized(_)), "{word}");
            assert_eq!(action.as_str(), word);
            assert_eq!(Action::from_word(&format!(" {} ", word.to_uppercase())), action);
        }
        for word in "NotStarted InProgress Succeeded Failed Conflict".split(' ') {
            let status = OperationStatus::from_word(word);
            assert!(!matches!(status, OperationStatus::Unrecognized(_)), "{word}");
            assert_eq!(status.as_str(), word);
            assert_eq!(OperationStatus::from_word(&word.to_lowercase()), status);
        }
        for word in ["Azure", "Partner"] {
            let source = RequestSource::from_word(word);
            assert!(!matches!(source, RequestSource::Unrecognized(_)), "{word}");
            assert_eq!(source.as_str(), word);
        }
        assert_eq!(Action::from_word(" Transfer").as_str(), "Transfer");
        assert_eq!(OperationStatus::from_word(""), OperationStatus::Unrecognized("".into()));
        assert_eq!(RequestSource::from_word("Partners").as_str(), "Partners");
    }

    #[test]
    fn the_documentations_loose_words_are_understood() {
        assert_eq!(Action::from_word("Suspended"), Action::Suspend);
        for word in ["Success", "succeed", " Succeeded "] {
            assert_eq!(OperationStatus::from_word(word), OperationStatus::Succeeded, "{word}");
        }
        assert_eq!(OperationStatus::from_word("Failure"), OperationStatus::Failed);
    }

    #[test]
    fn only_changes_ask_and_only_three_statuses_end() {
        assert!(Action::ChangePlan.asks() && Action::ChangeQuantity.asks());
        assert!(!Action::Reinstate.asks() && !Action::from_word("Transfer").asks());
        assert!(OperationStatus::Conflict.is_over() && OperationStatus::Failed.is_over());
        assert!(
            !OperationStatus::NotStarted.is_over() && !OperationStatus::from_word("").is_over()
        );
    }
}
