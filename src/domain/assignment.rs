//! What is wrong with a path by which a licence should have come: Microsoft's words, what they mean
//! and what helps. The one table of them: the trail, the listings and the status page say the same.

use std::sync::Arc;

/// Why Microsoft could not assign a licence by a path.
///
/// Source: Graph, `licenseAssignmentState.error` (graph-licensing.md section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignmentError {
    /// No seat was free.
    CountViolation,
    /// Another licence of the user excludes this one.
    MutuallyExclusiveViolation,
    /// A service that this one needs, or that needs this one, is missing or would be.
    DependencyViolation,
    /// Not allowed where the user is.
    ProhibitedInUsageLocationViolation,
    /// Something that must be unique in the tenant is not.
    UniquenessViolation,
    /// Microsoft does not say.
    Other,
    /// A word that Microsoft added later; kept as it is.
    Unrecognized(Arc<str>),
}

impl AssignmentError {
    /// The word, whatever its case and the spaces around it; none for the empty one and for the
    /// literal `None`, which is seen beside `null`.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "" | "none" => return None,
            "countviolation" => Self::CountViolation,
            "mutuallyexclusiveviolation" => Self::MutuallyExclusiveViolation,
            "dependencyviolation" => Self::DependencyViolation,
            "prohibitedinusagelocationviolation" => Self::ProhibitedInUsageLocationViolation,
            "uniquenessviolation" => Self::UniquenessViolation,
            "other" => Self::Other,
            _ => Self::Unrecognized(word.trim().into()),
        })
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::CountViolation => "CountViolation",
            Self::MutuallyExclusiveViolation => "MutuallyExclusiveViolation",
            Self::DependencyViolation => "DependencyViolation",
            Self::ProhibitedInUsageLocationViolation => "ProhibitedInUsageLocationViolation",
            Self::UniquenessViolation => "UniquenessViolation",
            Self::Other => "Other",
            Self::Unrecognized(word) => word,
        }
    }

    /// What it means.
    pub const fn meaning(&self) -> &'static str {
        match self {
            Self::CountViolation => "no seat was free when Microsoft assigned it",
            Self::MutuallyExclusiveViolation => {
                "the user has another licence that excludes this one"
            }
            Self::DependencyViolation => {
                "a service that this licence needs is missing, or one that needs it would lose it"
            }
            Self::ProhibitedInUsageLocationViolation => {
                "this licence is not offered where the user's usage location is"
            }
            Self::UniquenessViolation => {
                "a value that must be unique in the tenant, such as an address, is not"
            }
            Self::Other => {
                "Microsoft names no reason; often another product of the same group failed, and \
                 with it all of the group's products for this user"
            }
            Self::Unrecognized(_) => "a reason that is not documented",
        }
    }

    /// What the customer's administrator can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::CountViolation => {
                "buy more seats or take some back, then reprocess the group in Entra"
            }
            Self::MutuallyExclusiveViolation => {
                "remove one of the two licences, or switch off the services that overlap"
            }
            Self::DependencyViolation => {
                "assign the licence with the needed service through the same group, or switch off \
                 what depends on it"
            }
            Self::ProhibitedInUsageLocationViolation => {
                "set the right usage location of the user, or switch off the services that are not \
                 allowed there"
            }
            Self::UniquenessViolation => {
                "look for the same address on another user, group or contact, and remove one"
            }
            Self::Other => {
                "look at the user's licences in Entra, mend what is said there of the group's other \
                 products, then reprocess"
            }
            Self::Unrecognized(_) => "look at the user's licences in Entra, then reprocess",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_known_in_any_case_and_unknown_ones_are_kept() {
        let documented = [
            "CountViolation",
            "MutuallyExclusiveViolation",
            "DependencyViolation",
            "ProhibitedInUsageLocationViolation",
            "UniquenessViolation",
            "Other",
        ];
        let mut said = std::collections::BTreeSet::new();
        for word in documented {
            let it = AssignmentError::from_word(word).unwrap();
            assert!(!matches!(it, AssignmentError::Unrecognized(_)), "{word}");
            assert_eq!(it.as_str(), word);
            assert_eq!(
                AssignmentError::from_word(&format!(" {} ", word.to_uppercase())),
                Some(it.clone())
            );
            assert!(said.insert(it.meaning()) && said.insert(it.remedy()), "{word} says its own");
        }
        assert_eq!(AssignmentError::from_word("None"), None);
        assert_eq!(AssignmentError::from_word(" "), None);
        let odd = AssignmentError::from_word("QuotaParadox").unwrap();
        assert_eq!(odd.as_str(), "QuotaParadox");
        assert!(odd.meaning().contains("not documented"));
    }
}
