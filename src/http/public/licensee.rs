//! The first use of a license by its id and licensee is its activation: operators see where it is used,
//! though nobody pasted a key. It decides nothing.
//!
//! Source: contract section 1, activation.

use jiff::Timestamp;

use super::Public;
use super::activations::commit;
use super::question::{Asked, Showing};
use crate::decision::{Decision, license_now};
use crate::domain::{ActivatedBy, Activation, HybridMode};

impl Public {
    /// Notes that a license was used by its id and licensee, if this is the first time: of this tenant,
    /// where a token names one. The answer does not rest on it: what cannot be written now comes again.
    pub(super) async fn note_licensee(&self, asked: &Asked, decision: &Decision, now: Timestamp) {
        let Some((id, Showing::Typed(licensee))) = &asked.license else { return };
        // Whoever was refused learns nothing here either: no look at the license, no moment more.
        let refused = decision.license_refused || !decision.usable;
        if refused || asked.product.hybrid != HybridMode::Licensee {
            return;
        }
        let (license, tenant) = (*id, asked.question().keyed_tenant());
        let is_first = {
            let mirror = self.store.mirror();
            let book = mirror.licenses();
            // An answer may rest on something else, such as a seat, beside a license that is none.
            book.is_first_use(license, tenant)
                && book.license(license).is_some_and(|it| {
                    it.product == asked.product.id
                        && it.is_licensee(licensee)
                        && license_now(it, self.policy.grace, now).state.is_usable()
                })
        };
        if !is_first {
            return;
        }
        let Ok(id) = self.store.new_activation_id() else { return };
        let activation = Activation { id, license, tenant, by: ActivatedBy::Licensee, at: now };
        let user = asked.user.filter(|_| tenant.is_some());
        let noted = self.store.decide(move |mirror| {
            let is_first = mirror.licenses().is_first_use(activation.license, activation.tenant);
            (is_first.then(|| commit(mirror, &activation, user)), ())
        });
        drop(noted.await);
    }
}
