//! Binding a tenant to a license by its activation key: pure, and decided by the thread that writes.
//!
//! Source: contract section 5, `POST /v1/activations`.

use jiff::Timestamp;

use super::{ActivatedBy, Activation, ActivationId, LicenseBook, LicenseId, Standing};
use crate::domain::{ProductId, TenantId, UserId};

/// Somebody pasted an activation key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindRequest {
    /// The product he runs.
    pub product: ProductId,
    /// What is kept of the key that he pasted.
    pub key_hash: [u8; 32],
    /// His tenant, by his token.
    pub tenant: TenantId,
    /// He, by his token.
    pub user: UserId,
    /// The id of the activation, should it become one.
    pub id: ActivationId,
    /// When.
    pub now: Timestamp,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The tenant is bound from now on.
    New(Activation),
    /// The tenant was bound to this license already.
    Already(Activation),
    /// The key does not count here. Which of the reasons it is nobody is told: it is unknown, of
    /// another product, revoked, or bound to as many tenants as were sold.
    Refused,
}

/// The most tenants of which it is noted that they used one license by id and licensee: an id that
/// leaked is seen by then, and what is kept of it is bounded.
const LICENSEE_MOST: usize = 64;

impl LicenseBook {
    /// Whether a use of a license by its id and licensee is the first of this tenant that would be
    /// noted; where no tenant is known, the first at all.
    pub fn is_first_use(&self, license: LicenseId, tenant: Option<TenantId>) -> bool {
        let mut noted = 0;
        for it in self.activations_of(license).filter(|it| it.by == ActivatedBy::Licensee) {
            if tenant.is_none() || it.tenant == tenant {
                return false;
            }
            noted += 1;
        }
        noted < LICENSEE_MOST
    }

    /// What comes of pasting a key.
    pub fn bind_by_key(&self, request: &BindRequest) -> Binding {
        let BindRequest { product, key_hash, tenant, user, id, now } = request;
        let found = self.license_by_key(key_hash);
        // Of a key that is none some license is looked up in its place, and which one is found out
        // for every key: the time it takes must not tell whether a key is another customer's.
        let Some(some) = self.all().next() else { return Binding::Refused };
        let Some(license) = found.or_else(|| self.license(some.id)) else {
            return Binding::Refused;
        };
        // All three are looked at, whatever the first says: as above.
        let said =
            [found.is_some(), license.product == *product, license.standing() != Standing::Revoked];
        let counts = said.iter().filter(|it| **it).count() == said.len();
        let by_key = |it: &&std::sync::Arc<Activation>| !matches!(it.by, ActivatedBy::Licensee);
        let bound = || self.activations_of(license.id).filter(by_key);
        let already = bound().filter(|it| it.tenant == Some(*tenant)).last();
        let free = bound().count() < usize::try_from(license.tenants_max).unwrap_or(usize::MAX);
        match already {
            _ if !counts => return Binding::Refused,
            Some(it) => return Binding::Already(it.as_ref().clone()),
            None if !free => return Binding::Refused,
            None => {}
        }
        Binding::New(Activation {
            id: *id,
            license: license.id,
            tenant: Some(*tenant),
            by: ActivatedBy::User(*user),
            at: *now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::super::{ActivationWrite, License};
    use super::*;
    use crate::domain::{Commit, Mirror};
    use jiff::SignedDuration;
    use uuid::Uuid;

    fn paste(mirror: &mut Mirror, key: u8, tenant: u128, product: &str) -> Binding {
        let next = u8::try_from(mirror.licenses().activations().count()).unwrap();
        let request = BindRequest {
            product: product.parse().unwrap(),
            key_hash: [key; 32],
            tenant: TenantId::from_uuid(Uuid::from_u128(tenant)).unwrap(),
            user: UserId::from_uuid(Uuid::from_u128(7)),
            id: ActivationId::from_random([next; ActivationId::RANDOM]),
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(next)),
        };
        let binding = mirror.licenses().bind_by_key(&request);
        if let Binding::New(it) = &binding {
            let activations = vec![ActivationWrite::Put(it.clone())];
            *mirror = mirror.applied(&Commit { activations, ..Commit::default() });
        }
        binding
    }

    fn sold(change: impl FnOnce(&mut License)) -> Mirror {
        let mut license = License { key_hash: Some([1; 32]), ..sample() };
        change(&mut license);
        Mirror::default().applied(&Commit { licenses: vec![license], ..Commit::default() })
    }

    #[test]
    fn a_key_binds_the_first_tenant_and_no_other() {
        let mut mirror = sold(|_| {});
        let product = "synoptic-panel";
        let Binding::New(first) = paste(&mut mirror, 1, 10, product) else { panic!("not bound") };
        assert_eq!(paste(&mut mirror, 1, 10, product), Binding::Already(first.clone()));
        assert_eq!(paste(&mut mirror, 1, 11, product), Binding::Refused, "bound elsewhere");
        assert_eq!(paste(&mut mirror, 2, 12, product), Binding::Refused, "no such key");
        assert_eq!(paste(&mut mirror, 1, 10, "other"), Binding::Refused, "another product");

        let activations = vec![ActivationWrite::Remove(first.id)];
        mirror = mirror.applied(&Commit { activations, ..Commit::default() });
        assert!(matches!(paste(&mut mirror, 1, 11, product), Binding::New(_)), "freed");
    }

    #[test]
    fn as_many_tenants_as_were_sold_are_bound() {
        let mut mirror = sold(|it| it.tenants_max = 2);
        let product = "synoptic-panel";
        assert!(matches!(paste(&mut mirror, 1, 10, product), Binding::New(_)));
        assert!(matches!(paste(&mut mirror, 1, 11, product), Binding::New(_)));
        assert_eq!(paste(&mut mirror, 1, 12, product), Binding::Refused);
    }

    #[test]
    fn a_revoked_license_binds_nobody_even_where_it_was_bound() {
        let mut mirror = sold(|_| {});
        assert!(matches!(paste(&mut mirror, 1, 10, "synoptic-panel"), Binding::New(_)));
        let license = mirror.licenses().all().next().unwrap().as_ref().clone();
        let revoked = License { revoked_at: Some(Timestamp::UNIX_EPOCH), ..license };
        mirror = mirror.applied(&Commit { licenses: vec![revoked], ..Commit::default() });
        assert_eq!(paste(&mut mirror, 1, 10, "synoptic-panel"), Binding::Refused);
    }

    #[test]
    fn a_use_by_id_and_licensee_is_the_first_once_of_each_tenant_and_of_a_few() {
        let mut mirror = sold(|_| {});
        let id = sample().id;
        let tenant = |n: u128| TenantId::from_uuid(Uuid::from_u128(n));
        let note = |mirror: &mut Mirror, n: u8, tenant| {
            let mut random = [n; ActivationId::RANDOM];
            random[0] = 8 + n / 32;
            let activation = Activation {
                id: ActivationId::from_random(random),
                license: id,
                tenant,
                by: ActivatedBy::Licensee,
                at: Timestamp::UNIX_EPOCH,
            };
            let activations = vec![ActivationWrite::Put(activation)];
            *mirror = mirror.applied(&Commit { activations, ..Commit::default() });
        };
        let first = |mirror: &Mirror, tenant| mirror.licenses().is_first_use(id, tenant);
        assert!(first(&mirror, None) && first(&mirror, tenant(1)));
        note(&mut mirror, 1, None);
        assert!(!first(&mirror, None) && first(&mirror, tenant(1)));
        note(&mut mirror, 2, tenant(1));
        assert!(!first(&mirror, tenant(1)) && first(&mirror, tenant(2)));
        // A key still binds as many tenants as were sold.
        assert!(matches!(paste(&mut mirror, 1, 10, "synoptic-panel"), Binding::New(_)));
        for n in 3..=64 {
            note(&mut mirror, n, tenant(u128::from(n)));
        }
        assert!(!first(&mirror, tenant(99)), "of very many no more are kept");
    }
}
