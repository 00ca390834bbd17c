//! Whose purchase is it?
//!
//! Users of the tenant that benefits and of the one that paid: whoever opens the page need not be
//! who bought. The tenant that all personal accounts share says nothing; there the account counts.
//!
//! Source: contract section 5; `marketplace-saas.md` sections 4 and 5.2.

use serde_json::Value;

use super::seal::Person;
use crate::domain::{Party, Subscription, TenantId, UserId};

/// The addresses of a subscription's parties, which are in its record only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) beneficiary: Option<String>,
    pub(super) purchaser: Option<String>,
}

impl Addresses {
    /// Those in the record as Microsoft sent it.
    pub(super) fn read(record: &str) -> Self {
        let record: Value = serde_json::from_str(record).unwrap_or_default();
        let address = |party: &str| {
            let text = record.get(party)?.get("emailId")?.as_str()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Self { beneficiary: address("beneficiary"), purchaser: address("purchaser") }
    }
}

/// Whether this person may see and activate this purchase.
pub(super) fn may(person: &Person, subscription: &Subscription, addresses: &Addresses) -> bool {
    is_of(&subscription.beneficiary, addresses.beneficiary.as_deref(), person)
        || is_of(&subscription.purchaser, addresses.purchaser.as_deref(), person)
}

fn is_of(party: &Party, address: Option<&str>, person: &Person) -> bool {
    if party.tenant != Some(person.tenant) || person.tenant.is_nil() {
        return false;
    }
    if TenantId::from_uuid(person.tenant).is_some() {
        return true;
    }
    let same_user = party.user == Some(UserId::from_uuid(person.user)) && !person.user.is_nil();
    let same_address = match (address, person.email.as_deref()) {
        (Some(theirs), Some(own)) => !own.is_empty() && theirs.eq_ignore_ascii_case(own.trim()),
        _ => false,
    };
    same_user || same_address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SubscriptionId, SubscriptionStatus};
    use uuid::{Uuid, uuid};

    const CONTOSO: Uuid = uuid!("0000a100-dada-4000-8000-000000000001");
    const RESELLER: Uuid = uuid!("0000a100-dada-4000-8000-000000000c59");
    const OTHER: Uuid = uuid!("0000a100-dada-4000-8000-000000000002");
    const PERSONAL: Uuid = TenantId::PERSONAL_ACCOUNTS;
    const BUYER: Uuid = uuid!("0000b1ce-dada-4000-8000-000000000001");
    const COLLEAGUE: Uuid = uuid!("0000b1ce-dada-4000-8000-000000000002");

    fn subscription(beneficiary: Option<Uuid>, purchaser: Option<Uuid>) -> Subscription {
        let party = |tenant| Party { tenant, user: Some(UserId::from_uuid(BUYER)) };
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: "team".into(),
            status: SubscriptionStatus::PendingFulfillmentStart,
            beneficiary: party(beneficiary),
            purchaser: party(purchaser),
            ..Subscription::sample()
        }
    }

    /// Beneficiary's tenant, purchaser's tenant, who comes (tenant, user, address), may he.
    #[track_caller]
    fn check(parties: [Option<Uuid>; 2], person: (Uuid, Uuid, Option<&str>), expected: bool) {
        let (tenant, user, email) = person;
        let email = email.map(str::to_owned);
        let person = Person { tenant, user, name: None, login: email.clone(), email };
        let addresses = Addresses { beneficiary: Some("Pat@Home.example".into()), purchaser: None };
        let [beneficiary, purchaser] = parties;
        let got = may(&person, &subscription(beneficiary, purchaser), &addresses);
        assert_eq!(got, expected, "{parties:?} {tenant} {user}");
    }

    #[test]
    fn tenants_are_compared_and_personal_accounts_one_by_one() {
        let same = [Some(CONTOSO), Some(CONTOSO)];
        check(same, (CONTOSO, BUYER, None), true);
        check(same, (CONTOSO, COLLEAGUE, None), true);
        check(same, (OTHER, BUYER, None), false);
        let csp = [Some(CONTOSO), Some(RESELLER)];
        check(csp, (CONTOSO, COLLEAGUE, None), true);
        check(csp, (RESELLER, COLLEAGUE, None), true);
        check(csp, (OTHER, COLLEAGUE, None), false);
        let personal = [Some(PERSONAL), Some(PERSONAL)];
        check(personal, (PERSONAL, BUYER, None), true);
        check(personal, (PERSONAL, COLLEAGUE, Some("pat@home.example ")), true);
        check(personal, (PERSONAL, COLLEAGUE, Some("eve@home.example")), false);
        check(personal, (PERSONAL, COLLEAGUE, None), false);
        check(personal, (CONTOSO, BUYER, Some("pat@home.example")), false);
        check(same, (PERSONAL, BUYER, Some("pat@home.example")), false);
        check([None, None], (CONTOSO, BUYER, None), false);
        check([Some(Uuid::nil()), None], (Uuid::nil(), BUYER, None), false);
    }

    #[test]
    fn addresses_are_read_from_whatever_the_record_is() {
        let check = |record: &str, beneficiary: Option<&str>| {
            assert_eq!(Addresses::read(record).beneficiary.as_deref(), beneficiary, "{record}");
        };
        check(r#"{"beneficiary":{"emailId":" a@b.example "}}"#, Some("a@b.example"));
        check(r#"{"beneficiary":{"emailId":""}}"#, None);
        check(r#"{"beneficiary":{"emailId":null}}"#, None);
        check(r#"{"beneficiary":null}"#, None);
        check("no json", None);
    }
}
