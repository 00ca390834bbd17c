//! From the mirror to the licenses of the publisher that speak for a question, and who is covered.

use jiff::Timestamp;

use super::evidence::{Evidence, License, Proof, Question, Shown, Users};
use super::gather::Pieces;
use super::{SeatOf, SeatUse, host};
use crate::domain::{
    self, ActivatedBy, HybridMode, LicenseKind, LicenseUser, Mirror, OverLimit, Policy,
    same_licensee,
};

/// Whom a typed licensee is compared with where there is no such license, so that it takes as long.
const NOBODY: &str = "Nobody (nobody@nowhere.example)";

/// The licenses that the tenant is bound to, and the one that was shown, if it is recognized. Unknown,
/// of another product, or made out to somebody else: it is as if nothing was there.
pub(super) fn licensed<'a>(
    mirror: &'a Mirror,
    question: &Question<'a>,
    policy: &Policy,
    now: Timestamp,
    pieces: &mut Pieces<'a>,
) {
    let book = mirror.licenses();
    let mut put = |it: &'a domain::License, proof| {
        pieces.push(Evidence::License(License {
            seat: seat(mirror, (it, proof), question, policy, now),
            ..License::of(it, proof, users(mirror, it, question, policy, now))
        }));
    };
    if let Some(tenant) = question.keyed_tenant() {
        for activation in book.activations_of_tenant(tenant) {
            let by_key = !matches!(activation.by, ActivatedBy::Licensee);
            let found = book.license(activation.license).filter(|_| by_key);
            if let Some(it) = found.filter(|it| it.product == question.product.id) {
                put(it, Proof::EntraActivation);
            }
        }
    }
    let (id, proof, licensee) = match question.shown {
        Shown::Nothing => return,
        Shown::Typed { id, licensee } => (id, Proof::IdAndLicensee, Some(licensee)),
        Shown::Package(id) => (id, Proof::Package, None),
        Shown::Named(id) => (id, named(question.product.hybrid), None),
    };
    let found = book.license(id).filter(|it| it.product == question.product.id);
    let made_out_to = found.map_or(NOBODY, |it| &*it.licensee);
    let his = licensee.is_none_or(|typed| same_licensee(made_out_to, typed));
    if let Some(it) = found.filter(|_| his) {
        put(it, proof);
    }
}

/// What an operator who names a license asks about: what a visual of the product would prove by it.
const fn named(hybrid: HybridMode) -> Proof {
    match hybrid {
        HybridMode::Licensee => Proof::IdAndLicensee,
        HybridMode::Entra | HybridMode::None => Proof::Package,
    }
}

impl Question<'_> {
    /// Who asks, as far as he can be counted among a license's users: by his token, otherwise by a
    /// package's anonymous id.
    pub fn license_user(&self) -> Option<LicenseUser> {
        let known = self.keyed_tenant().zip(self.user);
        let known = known.map(|(tenant, user)| LicenseUser::Known(tenant, user));
        known.or_else(|| self.anonymous.map(LicenseUser::Anonymous))
    }
}

fn users(
    mirror: &Mirror,
    it: &domain::License,
    question: &Question<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Option<Users> {
    let max = it.max_users()?;
    let users = mirror.licenses().users(it.id);
    let before =
        users.map_or(0, |all| all.before(question.license_user(), max, policy.release_after, now));
    Some(Users { max, before })
}

/// The place of the asker, to be taken or touched when the license decides. Only where users count.
fn seat(
    mirror: &Mirror,
    (it, proof): (&domain::License, Proof),
    question: &Question<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Option<SeatUse> {
    let counts = it.kind == LicenseKind::User && host::counts_users(proof.channel(), question.host);
    let user = question.license_user().filter(|_| counts)?;
    let limit = it.over_limit.unwrap_or(policy.over_limit);
    let release_after = user.kept_for(policy.release_after);
    let held = mirror.licenses().users(it.id).and_then(|all| all.seat(user));
    Some(SeatUse {
        of: SeatOf::License(it.id),
        // Whoever is over the maximum is counted too where that is only warned of.
        quantity: it.max_users().filter(|_| limit == OverLimit::Deny),
        release_after,
        held: held.filter(|it| now.duration_since(it.last_used) <= release_after),
    })
}
