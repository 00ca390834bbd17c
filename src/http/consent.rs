//! The link by which a customer's administrator consents, and the sealed word it comes back with.
//!
//! Source: Entra, v2 admin consent endpoint (`graph-licensing.md` section 10.1).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::seal::Seal;
use crate::domain::TenantId;

/// Where administrators come back to, below the public address.
pub(super) const ROUTE: &str = "/marketplace/consent";

/// How long a link is good: it is sent by mail, and administrators take their time.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is sealed in.
const NAME: &str = "state";

/// What a link to admin consent is made of.
#[derive(Clone, Debug)]
pub struct ConsentLink {
    /// Entra.
    pub login: Url,
    /// What is consented to: the scope that tokens are asked for.
    pub scope: String,
    /// Our app.
    pub client_id: String,
    /// What the outside calls us.
    pub public_url: Option<Url>,
}

/// Makes links, and knows those that come back.
pub(super) struct Consents {
    link: ConsentLink,
    seal: Option<Seal>,
}

/// What a link says, sealed in its `state`.
#[derive(Serialize, Deserialize)]
struct State {
    tenant: Uuid,
    /// In seconds since 1970.
    until: i64,
}

/// Why a `state` is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadState {
    /// It is none of ours, or not whole.
    NotOurs,
    /// It was good once, for this tenant.
    Over(TenantId),
}

impl Consents {
    /// `secret` seals what comes back.
    pub(super) fn new(link: ConsentLink, secret: &[u8; 32]) -> Self {
        Self { link, seal: Seal::new(secret, "entitled consent state 1") }
    }

    /// The link by which an administrator of the tenant lets us read its licences; `None` as long
    /// as there is no public address to return to.
    pub(super) fn link(&self, tenant: TenantId, now: Timestamp) -> Option<Url> {
        let link = &self.link;
        let back = below(link.public_url.as_ref()?, ROUTE.trim_start_matches('/'))?;
        let mut to = below(&link.login, &format!("{tenant}/v2.0/adminconsent"))?;
        let until = now.as_second().saturating_add(GOOD_FOR.as_secs());
        let state = State { tenant: tenant.as_uuid(), until };
        let state = self.seal.as_ref()?.seal(NAME, &state)?;
        to.query_pairs_mut()
            .append_pair("client_id", &link.client_id)
            .append_pair("scope", &link.scope)
            .append_pair("redirect_uri", back.as_str())
            .append_pair("state", &state);
        Some(to)
    }

    /// Which tenant a link was made for.
    pub(super) fn tenant(&self, state: &str, now: Timestamp) -> Result<TenantId, BadState> {
        let opened = self.seal.as_ref().and_then(|it| it.open::<State>(NAME, state));
        let State { tenant, until } = opened.ok_or(BadState::NotOurs)?;
        let tenant = TenantId::from_uuid(tenant).ok_or(BadState::NotOurs)?;
        if now.as_second() < until { Ok(tenant) } else { Err(BadState::Over(tenant)) }
    }
}

fn below(url: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}/{path}", url.as_str().trim_end_matches('/'))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consents(public_url: Option<&str>) -> Consents {
        let link = ConsentLink {
            login: "https://login.test".parse().unwrap(),
            scope: "https://graph.test/.default".to_owned(),
            client_id: "app 1".to_owned(),
            public_url: public_url.map(|it| it.parse().unwrap()),
        };
        Consents::new(link, &[7; 32])
    }

    fn tenant() -> TenantId {
        "0b0b0b0b-1111-4222-8333-444444444444".parse().unwrap()
    }

    #[test]
    fn the_consent_link_names_tenant_app_scope_and_the_way_back() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(consents(None).link(tenant(), now), None);
        let link = consents(Some("https://lic.test/base/")).link(tenant(), now).unwrap();
        let (front, state) = link.as_str().split_once("&state=").unwrap();
        assert_eq!(
            front,
            "https://login.test/0b0b0b0b-1111-4222-8333-444444444444/v2.0/adminconsent\
             ?client_id=app+1&scope=https%3A%2F%2Fgraph.test%2F.default\
             &redirect_uri=https%3A%2F%2Flic.test%2Fbase%2Fmarketplace%2Fconsent"
        );
        assert!(!state.contains("0b0b0b0b"), "{state}");
    }

    #[test]
    fn a_link_is_good_for_thirty_days_and_for_nobody_who_made_it_up() {
        let now = Timestamp::UNIX_EPOCH;
        let consents = consents(Some("https://lic.test"));
        let link = consents.link(tenant(), now).unwrap();
        let state = link.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let after = |days: i64| now + SignedDuration::from_hours(24 * days);
        assert_eq!(consents.tenant(&state, after(29)), Ok(tenant()));
        assert_eq!(consents.tenant(&state, after(30)), Err(BadState::Over(tenant())));
        for forged in ["", "x", &state[1..], &format!("{state}AAAA")] {
            assert_eq!(consents.tenant(forged, now), Err(BadState::NotOurs), "{forged}");
        }
    }
}
