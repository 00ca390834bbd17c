//! A refusal may be older than the licence: whoever is refused is looked up, and the answer says
//! when to ask again. So is whoever stands on a usage right that has grown old.

use jiff::Timestamp;

use super::Public;
use super::question::Asked;
use crate::decision::{Decision, EvidenceKind, Reason};
use crate::domain::{Channel, Cloud, Consent, Grant, Permission};

impl Public {
    /// Asks for a look-up of the user if that could turn this answer, and has the answer say when
    /// it pays to ask again. Nobody waits for it.
    pub(super) fn look_again(&self, asked: &Asked, decision: Decision, now: Timestamp) -> Decision {
        // Usage rights are read again for those who ask; all others' grow old, and all grow old
        // where they are switched off.
        let by_right = decision.proof == Some(EvidenceKind::UsageRight);
        let old_right = decision.stale && by_right && self.policy.usage_rights;
        if decision.usable && !old_right || !self.could_turn(asked, decision.reason) {
            return decision;
        }
        let Some((tenant, user)) = asked.tenant.zip(asked.user) else { return decision };
        match self.lookups.wanted(tenant, user, now) {
            Some(again_s) => {
                let check_after_s = decision.check_after_s.min(again_s);
                Decision { check_after_s, ..decision }
            }
            None => decision,
        }
    }

    /// Whether Microsoft may know of a licence that turns this answer, and lets us look.
    fn could_turn(&self, asked: &Asked, reason: Reason) -> bool {
        let per_user = [Channel::Appsource, Channel::IsvApp];
        let sold = per_user.iter().any(|channel| asked.product.sells_on(*channel));
        if !sold || reason == Reason::HostUnsupported {
            return false;
        }
        let mirror = self.store.mirror();
        let tenant = asked.tenant.and_then(|it| mirror.tenant(it));
        // One that was never read may have consented all the same: its first look says so. Usage
        // rights, if they are read, need its users only.
        tenant.is_some_and(|it| {
            let lets_us = matches!(it.tenant.consent, Consent::Granted | Consent::Unknown)
                || self.policy.usage_rights
                    && it.access.grant(Permission::UserRead) == Grant::Granted;
            it.tenant.cloud == Cloud::Public && lets_us
        })
    }
}
