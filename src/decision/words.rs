//! The states and the reasons: one word each for machines, one sentence each for people.

use std::fmt;

/// An enum whose variants are one word and one sentence each.
macro_rules! said {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal, $sentence:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $(#[doc = $sentence] $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that programs rely on.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The same for people, as one sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

said!(
    /// What a decision comes to, best first: the smaller one is the better one.
    State {
        Active = "active", "The right is there and paid.";
        Trial = "trial", "The right is there as a trial.";
        Grace = "grace", "The right has lapsed or could not be confirmed, and still counts.";
        Pending = "pending", "Bought, but not activated yet.";
        Suspended = "suspended", "Payment failed or somebody suspended it; it can come back.";
        Expired = "expired", "There was a right, and it is over.";
        Unlicensed = "unlicensed", "Everything that could hold a right was read: there is none.";
        Unknown = "unknown", "What could hold a right was not read.";
    }
);

impl State {
    /// Whether the product may be used.
    ///
    /// Source: contract section 2.
    pub const fn is_usable(self) -> bool {
        match self {
            Self::Active | Self::Trial | Self::Grace => true,
            Self::Pending | Self::Suspended | Self::Expired | Self::Unlicensed | Self::Unknown => {
                false
            }
        }
    }
}

said!(
    /// Why a decision came out as it did.
    Reason {
        SubscriptionActive = "subscription_active",
            "The tenant's marketplace subscription is live.";
        SubscriptionTrial = "subscription_trial",
            "The tenant's marketplace subscription is in its free trial.";
        SubscriptionPending = "subscription_pending",
            "The tenant's marketplace subscription was bought but not activated yet.";
        SubscriptionSuspended = "subscription_suspended",
            "The tenant's marketplace subscription is suspended: a payment failed.";
        SubscriptionEnded = "subscription_ended",
            "The tenant's marketplace subscription was cancelled or has ended.";
        SeatDirect = "seat_direct",
            "The user holds a Microsoft-managed licence that was assigned to him directly.";
        SeatByGroup = "seat_by_group",
            "The user holds a Microsoft-managed licence through a group.";
        SeatPathUnknown = "seat_path_unknown",
            "The user holds a Microsoft-managed licence; by which path was not told.";
        SeatGrace = "seat_grace",
            "The tenant's purchase behind the user's licence has expired and is in Microsoft's grace period.";
        SeatSuspended = "seat_suspended",
            "The tenant's purchase behind the user's licence is suspended or locked.";
        SeatEnded = "seat_ended",
            "The tenant's purchase behind the user's licence is gone.";
        LicenseActive = "license_active", "The publisher's license is paid.";
        LicenseTrial = "license_trial", "The publisher's license is in its trial.";
        LicenseGrace = "license_grace",
            "The publisher's license was not paid in time and is in its grace period.";
        LicenseSuspended = "license_suspended", "The publisher suspended the license.";
        LicenseExpired = "license_expired", "The publisher's license has expired.";
        LicenseRevoked = "license_revoked", "The publisher revoked the license.";
        OverLimit = "over_limit", "The license has more users than it allows.";
        NoFreeSeat = "no_free_seat", "All seats of the subscription are taken.";
        StatusUnrecognized = "status_unrecognized",
            "Microsoft reported a status that this version does not know.";
        Stale = "stale",
            "What Microsoft said last is older than it is trusted.";
        NoConsent = "no_consent",
            "The tenant does not let us read its licences: an administrator has to consent.";
        NeverRead = "never_read",
            "What could hold a right has never been read completely.";
        RecordUnread = "record_unread",
            "Microsoft lists something that could hold a right and that this version cannot read.";
        RightsUnread = "rights_unread",
            "The tenant has licences that its directory does not list, and what this user holds of them was not read yet.";
        RightsOff = "rights_off",
            "The tenant has licences that its directory does not list, and by this daemon's configuration nobody reads who holds them.";
        NotRecorded = "not_recorded",
            "The journal does not reach back that far: which licenses the publisher had sold by then is not known.";
        LicenseNotRecognized = "license_not_recognized",
            "The license, its licensee or its package was not recognized.";
        PersonalAccount = "personal_account",
            "A personal Microsoft account belongs to no tenant that could hold a right.";
        SeatInError = "seat_in_error",
            "A licence is meant for the user, but Microsoft could not assign it.";
        SeatSwitchedOff = "seat_switched_off",
            "The user's licence has the product's service plan switched off.";
        SeatNotAssigned = "seat_not_assigned",
            "A licence is meant for the user, but he does not hold it.";
        HostUnsupported = "host_unsupported",
            "No right that the product is sold by counts in this host or this cloud.";
        UserNeeded = "user_needed",
            "The product is licensed by user, and the question names none.";
        NotLicensed = "not_licensed", "Nothing gives a right to use the product.";
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_is_active_trial_and_grace() {
        let usable: Vec<_> = State::ALL.iter().filter(|it| it.is_usable()).collect();
        assert_eq!(usable, [&State::Active, &State::Trial, &State::Grace]);
        let words: Vec<_> = State::ALL.iter().map(|it| it.as_str()).collect();
        let listed = "active trial grace pending suspended expired unlicensed unknown";
        assert_eq!(words.join(" "), listed);
    }

    #[test]
    fn every_reason_has_a_word_and_a_sentence_of_its_own() {
        for reason in Reason::ALL {
            let same = |it: &&Reason| it.as_str() == reason.as_str();
            assert_eq!(Reason::ALL.iter().filter(same).count(), 1, "{reason}");
            let word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(reason.as_str().chars().all(word), "{reason}");
            assert!(reason.sentence().ends_with('.'), "{reason}");
        }
    }
}
