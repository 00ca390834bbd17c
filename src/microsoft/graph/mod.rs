//! Microsoft Graph: a tenant's SKUs, its users and who holds what by which path.

mod batch;
mod delta;
mod endpoint;
mod groups;
mod parse;
mod requests;
mod rights;
mod subscriptions;
mod verdict;

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

pub use self::batch::BatchMiss;
pub use self::delta::{DeltaFrom, DeltaPage, PageEnd};
use self::endpoint::{DELTA, Endpoint, ORGANIZATION, SKUS, SUBSCRIPTIONS, USERS};
pub use self::groups::{GroupRow, MemberKind, MemberRow};
pub use self::parse::{AssignedLicence, Removed, UserRow};
use self::requests::Requests;
pub use self::rights::{RightRow, RightsOf};
pub use self::subscriptions::{MadeGraphSubscription, NewGraphSubscription};
use self::verdict::{Asked, Linked};
use super::Page;
use super::error::{ErrorKind, MicrosoftError};
use super::http::{Answer, Http, Outgoing};
use super::json::{self, Read};
use super::limits::{Limits, Scope};
use super::link::{Base, Link};
use super::login::{Resource, TokenSource};
use super::meter::Meter;
use super::pace::{Pace, retry_after};
use crate::domain::{Access, Cloud, Grant, Sku, SkuId, TenantId};

/// Where Graph's paths lie.
const INSIDE: &[&str] = &["/v1.0/", "/beta/"];

/// Graph of all tenants that let us in.
pub struct Graph {
    base: Base,
    requests: Requests,
    http: Http,
    pace: Pace,
    tokens: Arc<TokenSource>,
    resource: Resource,
    limits: Limits,
}

/// What a tenant calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// `displayName`.
    pub name: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Rows<'a> {
    #[serde(borrow, default)]
    value: Option<Vec<&'a RawValue>>,
    #[serde(rename = "@odata.nextLink", default)]
    next: Option<Value>,
    #[serde(rename = "@odata.deltaLink", default)]
    delta: Option<Value>,
}

impl Graph {
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] when the configured address cannot carry paths.
    pub(super) fn new(
        url: &Url,
        http: Http,
        pace: Pace,
        tokens: Arc<TokenSource>,
    ) -> Result<Self, MicrosoftError> {
        let base = Base::new(url.clone(), INSIDE);
        let resource = Resource { scope: graph_scope(url), by_roles: true };
        let (requests, limits) = (Requests::new(base.clone())?, Limits::new(pace.now()));
        Ok(Self { base, requests, http, pace, tokens, resource, limits })
    }

    /// What the tenant calls itself; also the proof that it lets us in.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribed_skus`]; [`ErrorKind::Unreadable`] when another tenant answers.
    ///
    /// Source: graph-licensing.md section 10.1.
    pub async fn organization(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> Result<Organization, MicrosoftError> {
        let request = self.requests.organization().await?;
        let read = |answer: &Answer| {
            let body: Value = json::body(ORGANIZATION.name, answer)?;
            let first = body.get("value").and_then(|it| it.get(0));
            let first = first.ok_or_else(|| json::no_json(ORGANIZATION.name, answer))?;
            if json::id::<TenantId>(first, "id").is_ok_and(|it| it != tenant) {
                let what = format!("Graph answers for another tenant than {tenant}");
                return Err(MicrosoftError::new(ErrorKind::Unreadable, what));
            }
            let name = json::word(first, "displayName").filter(|it| !it.is_empty());
            Ok(Organization { name: name.map(Arc::from) })
        };
        self.call(meter, tenant, ORGANIZATION, &request, Linked::No, read).await
    }

    /// Forgets the tenant's token: what was consented to since is visible in new tokens only.
    ///
    /// Source: graph-licensing.md section 10.2.
    pub async fn renew_token(&self, tenant: TenantId) {
        self.tokens.renew(tenant, &self.resource).await;
    }

    /// In which cloud the tenant lives, as Entra's public metadata say; `None` if they do not.
    ///
    /// # Errors
    ///
    /// Entra cannot be asked.
    ///
    /// Source: graph-licensing.md section 11.
    pub async fn cloud(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> Result<Option<Cloud>, MicrosoftError> {
        self.tokens.cloud(meter, tenant).await
    }

    /// All SKUs of the tenant, ours or not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Consent`] when the tenant does not let us look, and what every call may say:
    /// transient trouble that outlasted four tries, throttling longer than ten minutes, an answer
    /// that is none.
    ///
    /// Source: graph-licensing.md section 1.1.
    pub async fn subscribed_skus(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> Result<Vec<Read<Sku>>, MicrosoftError> {
        let first = self.requests.subscribed_skus().await?;
        self.collect(meter, tenant, SKUS, first, |raw| Read::of(raw, parse::sku)).await
    }

    /// When the subscriptions behind the tenant's SKUs change their status next; a SKU may have
    /// several.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribed_skus`]. [`ErrorKind::Consent`] here says nothing of the rest: this
    /// collection wants a permission of its own.
    ///
    /// Source: graph-licensing.md section 1.2.
    pub async fn lifecycles(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> Result<Vec<(SkuId, Timestamp)>, MicrosoftError> {
        let first = self.requests.directory_subscriptions().await?;
        let read = |raw: &RawValue| value_of(raw).as_ref().and_then(parse::lifecycle);
        let found = self.collect(meter, tenant, SUBSCRIPTIONS, first, read).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// One page of what changed among the users.
    ///
    /// From a cursor on, only changed properties come (`return=minimal`): an absent one is
    /// unchanged. `licenseAssignmentStates` alone never makes a row.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Resync`] when the cursor is dead, [`ErrorKind::RestartSequence`] when a page
    /// token is, [`ErrorKind::Refused`] for a link out of Graph; otherwise as
    /// [`Self::subscribed_skus`].
    ///
    /// Source: graph-licensing.md section 5.
    pub async fn delta_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        from: DeltaFrom<'_>,
    ) -> Result<DeltaPage, MicrosoftError> {
        let first = self.requests.users_delta();
        let page = self.sequence(meter, tenant, (DELTA, from), first, parse::user).await?;
        let minimal = match from {
            DeltaFrom::Start => false,
            DeltaFrom::Cursor(_) => true,
            DeltaFrom::Next(link) => link.is_minimal(),
        };
        if !minimal {
            self.counted(tenant, matches!(from, DeltaFrom::Start), page.rows.len());
        }
        Ok(page)
    }

    fn counted(&self, tenant: TenantId, first: bool, rows: usize) {
        self.limits.counted(tenant, first, rows, self.pace.now());
    }

    /// A tenant is known to have so many users at least: its quota grows with its size.
    ///
    /// Source: graph-licensing.md section 8.
    pub fn has_users(&self, tenant: TenantId, users: usize) {
        self.limits.has_users(tenant, users, self.pace.now());
    }

    /// One page of all users: the sweep that catches what delta does not tell.
    ///
    /// # Errors
    ///
    /// As [`Self::delta_page`].
    ///
    /// Source: graph-licensing.md sections 2.3 and 5.3.
    pub async fn users_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        next: Option<&Link>,
    ) -> Result<Page<UserRow>, MicrosoftError> {
        let request = match next {
            None => self.requests.users().await?,
            Some(link) => self.requests.along(link.as_str()).await?,
        };
        let row = |raw: &RawValue| Read::of(raw, parse::user);
        let first = next.is_none();
        let (records, next) = self.page(meter, tenant, USERS, &request, next, row).await?;
        self.counted(tenant, first, records.len());
        Ok(Page { records, next })
    }

    /// One page of a plain collection.
    async fn page<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        endpoint: Endpoint,
        request: &Outgoing,
        before: Option<&Link>,
        row: impl Fn(&RawValue) -> T,
    ) -> Result<(Vec<T>, Option<Link>), MicrosoftError> {
        let read = |answer: &Answer| {
            let page: Rows<'_> = json::body(endpoint.name, answer)?;
            let rows = page.value.ok_or_else(|| json::no_json(endpoint.name, answer))?;
            let next = address(endpoint, answer, page.next)?
                .map(|next| Link::after(before, self.base.target(&next)?, false));
            Ok((rows.into_iter().map(&row).collect(), next.transpose()?))
        };
        let linked = if before.is_some() { Linked::Page } else { Linked::No };
        self.call(meter, tenant, endpoint, request, linked, read).await
    }

    /// All pages of a plain collection; a page token that dies on the way costs one new beginning.
    async fn collect<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        endpoint: Endpoint,
        first: Outgoing,
        row: impl Fn(&RawValue) -> T,
    ) -> Result<Vec<T>, MicrosoftError> {
        match self.collect_once(meter, tenant, endpoint, first.clone(), &row).await {
            Err(error) if error.kind() == ErrorKind::RestartSequence => {
                self.collect_once(meter, tenant, endpoint, first, &row).await
            }
            whole => whole,
        }
    }

    async fn collect_once<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        endpoint: Endpoint,
        first: Outgoing,
        row: impl Fn(&RawValue) -> T,
    ) -> Result<Vec<T>, MicrosoftError> {
        let (mut request, mut before, mut all) = (first, None, Vec::new());
        loop {
            let page = self.page(meter, tenant, endpoint, &request, before.as_ref(), &row).await?;
            all.extend(page.0);
            let Some(next) = page.1 else { return Ok(all) };
            request = self.requests.along(next.as_str()).await?;
            before = Some(next);
        }
    }

    /// One call with everything around it: budget, gates, token, retries.
    async fn call<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        endpoint: Endpoint,
        request: &Outgoing,
        linked: Linked,
        read: impl Fn(&Answer) -> Result<T, MicrosoftError>,
    ) -> Result<T, MicrosoftError> {
        let endpoint = endpoint.for_one_with(meter);
        let mut request = request.clone();
        if let Some(priority) = endpoint.priority.header() {
            request = request.with(endpoint::PRIORITY, priority);
        }
        let mut tries = self.pace.tries(meter);
        loop {
            match self.call_once(meter, tenant, endpoint, &request, linked, &read).await {
                Ok(value) => return Ok(value),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// One try of a call.
    async fn call_once<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        endpoint: Endpoint,
        request: &Outgoing,
        linked: Linked,
        read: impl Fn(&Answer) -> Result<T, MicrosoftError>,
    ) -> Result<T, MicrosoftError> {
        let answer = self.with_token(meter, tenant, endpoint, request, linked).await?;
        read(&answer).map_err(|error| error.of_request(answer.request_id()))
    }

    /// Sends with the tenant's token. One that is refused is renewed once: consent given since is
    /// visible in new tokens only.
    ///
    /// Source: graph-licensing.md section 10.2.
    async fn with_token(
        &self,
        meter: &Meter,
        tenant: TenantId,
        endpoint: Endpoint,
        request: &Outgoing,
        linked: Linked,
    ) -> Result<Answer, MicrosoftError> {
        let mut renewed = false;
        loop {
            let token = self.tokens.token(meter, tenant, &self.resource).await;
            let (token, was_at_hand) = token.inspect_err(|error| {
                if error.is_nothing_given() {
                    meter.permitted_by_token(Access::none());
                }
            })?;
            if let Some(access) = token.access() {
                meter.permitted_by_token(access);
            }
            let charge = (endpoint.units, endpoint.priority);
            self.limits.enter(tenant, charge, &self.pace, meter).await?;
            let id = Uuid::new_v4().to_string();
            let outgoing = request.clone().with("client-request-id", &id).bearing(token.text());
            let answer = self.http.send(endpoint.name, meter, outgoing).await?;
            self.learn(tenant, endpoint.units, &answer.headers);
            let stale = match answer.status.as_u16() {
                401 | 403 if answer.is_markup() => false,
                401 => true,
                403 => endpoint.renews && was_at_hand,
                _ => false,
            };
            if stale && !renewed {
                self.tokens.forget(tenant, &self.resource, &token).await;
                renewed = true;
                continue;
            }
            let asked = Asked { endpoint: endpoint.name, tenant, token: &token, linked };
            let verdict = verdict::refusal(&answer, asked, self.pace.now());
            return match verdict {
                Ok(()) => {
                    meter.answered(endpoint.needs, Grant::Granted);
                    Ok(answer)
                }
                Err(error) => {
                    if error.kind() == ErrorKind::Consent && answer.status.as_u16() == 403 {
                        meter.answered(endpoint.needs, Grant::Missing);
                    }
                    Err(self.shut_for(tenant, &answer, error))
                }
            };
        }
    }

    /// What the call really cost.
    fn learn(&self, tenant: TenantId, charged: u32, headers: &HeaderMap) {
        let real = headers.get("x-ms-resource-unit").and_then(|it| it.to_str().ok());
        if let Some(real) = real.and_then(|it| it.trim().parse().ok()) {
            self.limits.correct(tenant, charged, real, self.pace.now());
        }
    }

    /// A throttled call that was told for how long shuts the gate for everybody it concerns.
    fn shut_for(&self, tenant: TenantId, answer: &Answer, error: MicrosoftError) -> MicrosoftError {
        let now = self.pace.now();
        let wait = retry_after(&answer.headers, now);
        match (error.kind(), wait) {
            (ErrorKind::Throttled, Some(wait)) => {
                let scope = Scope::from_header(answer.header("x-ms-throttle-scope"));
                self.limits.shut(scope, tenant, wait, now);
                error.held_at_the_gate()
            }
            _ => error,
        }
    }
}

/// A link member: absent, `null` and empty are none; anything but text would hide the rest.
fn address(
    endpoint: Endpoint,
    answer: &Answer,
    link: Option<Value>,
) -> Result<Option<String>, MicrosoftError> {
    match link {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(link)) if link.trim().is_empty() => Ok(None),
        Some(Value::String(link)) => Ok(Some(link)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(json::no_json(endpoint.name, answer))
        }
    }
}

fn value_of(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

/// The clouds' Graphs.
const CLOUDS: [&str; 4] = [
    "graph.microsoft.com",
    "graph.microsoft.us",
    "dod-graph.microsoft.us",
    "microsoftgraph.chinacloudapi.cn",
];

/// The scope of this cloud's Graph: what tokens are asked for and administrators consent to. Any
/// other host, such as a stand-in on loopback, speaks for the public one.
///
/// Source: graph-licensing.md sections 10.1, 10.2 and 11.
pub fn graph_scope(url: &Url) -> String {
    let host = CLOUDS.into_iter().find(|it| url.host_str() == Some(it));
    format!("https://{}/.default", host.unwrap_or("graph.microsoft.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_its_scope_and_a_stand_in_that_of_the_public_one() {
        for (graph, scope) in [
            ("https://graph.microsoft.com/", "https://graph.microsoft.com/.default"),
            ("https://graph.microsoft.us", "https://graph.microsoft.us/.default"),
            ("http://127.0.0.1:9000/graph", "https://graph.microsoft.com/.default"),
        ] {
            assert_eq!(graph_scope(&graph.parse().unwrap()), scope, "{graph}");
        }
    }
}
