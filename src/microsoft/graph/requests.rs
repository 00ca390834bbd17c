//! Requests as graph-rs-sdk builds them.
//!
//! The SDK knows the paths and writes the queries; what it builds is sent by our own client. Its
//! own `send` follows two redirects, has no cap on answers, reads proxies from the environment
//! and cannot be told otherwise; its paging takes a 429 for the end of the data
//! (graph-licensing.md section 14.5). One SDK client serves all tenants: the token is put in when
//! the request goes out.

use graph_rs_sdk::http::BodyRead;
use graph_rs_sdk::{GraphClient, GraphClientConfiguration, ODataQuery};
use reqwest::Method;
use url::Url;

use crate::domain::{GroupId, SkuId};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Outgoing;
use crate::microsoft::link::Base;

/// What is read of a user.
pub(super) const USER_FIELDS: [&str; 3] = ["id", "assignedLicenses", "licenseAssignmentStates"];

/// What is read of a group that carries a SKU.
const GROUP_FIELDS: [&str; 5] =
    ["id", "displayName", "groupTypes", "assignedLicenses", "licenseProcessingState"];

/// What is followed of a group.
const FOLLOWED_FIELDS: [&str; 5] =
    ["id", "displayName", "groupTypes", "assignedLicenses", "members"];

/// Builds requests to one Graph.
pub(super) struct Requests {
    sdk: GraphClient,
    base: Base,
}

/// The address as Microsoft's own documents write it: the SDK says `/users/delta()?%24select=a%2Cb` for
/// `/users/delta?$select=a,b`. Both mean the same; gateways and people know the second.
fn as_documented(mut url: Url) -> Url {
    if let Some(path) = url.path().strip_suffix("/delta()").map(|it| format!("{it}/delta")) {
        url.set_path(&path);
    }
    let query = url.query().map(|query| {
        let parts = query.split('&').map(|part| match part.strip_prefix("%24") {
            Some(rest) => format!("${}", rest.replace("%2C", ",")),
            None => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("&")
    });
    url.set_query(query.as_deref());
    url
}

/// What `build!` makes, with the address as documented.
macro_rules! build_own {
    ($handler:expr) => {{
        let built: Result<Outgoing, MicrosoftError> = build!($handler);
        built.map(|it| Outgoing { url: as_documented(it.url.clone()), ..it })
    }};
}

/// A request in the making, of a type the SDK exports for its clients only.
macro_rules! build {
    ($handler:expr) => {{
        let request = $handler.build().await.map_err(|_sdk| cannot())?;
        let request = request.build().map_err(|_sdk| cannot())?;
        let body = request.body().and_then(|it| it.as_bytes()).map(<[u8]>::to_vec);
        let mut headers = request.headers().clone();
        // The SDK's placeholder; the tenant's token is put in when the request goes out.
        headers.remove(reqwest::header::AUTHORIZATION);
        headers.remove(reqwest::header::USER_AGENT);
        Ok(Outgoing { method: request.method().clone(), url: request.url().clone(), headers, body })
    }};
}

impl Requests {
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] when the address cannot carry paths.
    pub(super) fn new(base: Base) -> Result<Self, MicrosoftError> {
        let endpoint: Url = base.join("/v1.0")?;
        let configuration = GraphClientConfiguration::new().access_token("").https_only(false);
        let mut sdk = GraphClient::from(configuration);
        // `use_endpoint` panics on any host but Microsoft's.
        sdk.use_test_endpoint(&endpoint);
        Ok(Self { sdk, base })
    }

    pub(super) async fn organization(&self) -> Result<Outgoing, MicrosoftError> {
        build_own!(self.sdk.organizations().list_organization().select(&["id", "displayName"]))
    }

    pub(super) async fn subscribed_skus(&self) -> Result<Outgoing, MicrosoftError> {
        let fields = [
            "skuId",
            "skuPartNumber",
            "capabilityStatus",
            "consumedUnits",
            "prepaidUnits",
            "servicePlans",
        ];
        build_own!(self.sdk.subscribed_skus().list_subscribed_sku().select(&fields))
    }

    /// The SDK has no method for this collection of the directory.
    pub(super) async fn directory_subscriptions(&self) -> Result<Outgoing, MicrosoftError> {
        build_own!(self.sdk.directory().get_directory().extend_path(&["subscriptions"]))
    }

    pub(super) async fn users(&self) -> Result<Outgoing, MicrosoftError> {
        build_own!(self.sdk.users().list_user().select(&USER_FIELDS).top("999"))
    }

    pub(super) async fn users_delta(&self) -> Result<Outgoing, MicrosoftError> {
        build_own!(self.sdk.users().delta().select(&USER_FIELDS))
    }

    /// In pages as large as can be, or as Microsoft makes them.
    pub(super) async fn licensed_groups(
        &self,
        sku: SkuId,
        large: bool,
    ) -> Result<Outgoing, MicrosoftError> {
        let filter = format!("assignedLicenses/any(x:x/skuId eq {sku})");
        let groups = self.sdk.groups().list_group();
        let groups = groups.filter(&[&filter]).select(&GROUP_FIELDS);
        if large { build_own!(groups.top("999")) } else { build_own!(groups) }
    }

    /// Limited to these groups, at most 50: nothing is read of the others.
    pub(super) async fn groups_delta(
        &self,
        groups: &[GroupId],
    ) -> Result<Outgoing, MicrosoftError> {
        let one = |it: &GroupId| format!("id eq '{it}'");
        let filter = groups.iter().map(one).collect::<Vec<_>>().join(" or ");
        build_own!(self.sdk.groups().delta().filter(&[&filter]).select(&FOLLOWED_FIELDS))
    }

    pub(super) async fn subscribe(
        &self,
        body: &serde_json::Value,
    ) -> Result<Outgoing, MicrosoftError> {
        build!(self.sdk.subscriptions().create_subscription(body))
    }

    pub(super) async fn renew_subscription(
        &self,
        id: &str,
        body: &serde_json::Value,
    ) -> Result<Outgoing, MicrosoftError> {
        build!(self.sdk.subscription(id).update_subscription(body))
    }

    pub(super) async fn unsubscribe(&self, id: &str) -> Result<Outgoing, MicrosoftError> {
        build!(self.sdk.subscription(id).delete_subscription())
    }

    /// The SDK changes the version of a client for all its later calls: the path is set here.
    pub(super) async fn batch(
        &self,
        target: &str,
        body: &serde_json::Value,
    ) -> Result<Outgoing, MicrosoftError> {
        let built: Result<Outgoing, MicrosoftError> = build!(self.sdk.batch(body));
        Ok(Outgoing { url: self.base.url(target)?, ..built? })
    }

    /// A request along a checked link. The address is set as a whole: the SDK's query methods
    /// would encode it once more.
    pub(super) async fn along(&self, target: &str) -> Result<Outgoing, MicrosoftError> {
        let url = self.base.url(target)?;
        let mut handler = self.sdk.custom(Method::GET, None::<BodyRead>);
        *handler.as_mut() = url;
        build!(handler)
    }
}

fn cannot() -> MicrosoftError {
    MicrosoftError::new(
        ErrorKind::Refused,
        "a request to Graph cannot be built: check [microsoft] graph",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_stay_on_the_configured_host_and_keep_links_as_they_are() {
        let base = Base::new("http://127.0.0.1:9/graph".parse().unwrap(), &["/v1.0/"]);
        let requests = Requests::new(base).unwrap();
        let root = "http://127.0.0.1:9/graph/v1.0";
        let check = |it: Outgoing, url: &str| {
            assert_eq!(it.url.as_str(), format!("{root}{url}"));
            assert!(it.headers.get("authorization").is_none());
        };
        let fields = "$select=id,assignedLicenses,licenseAssignmentStates";
        check(requests.users_delta().await.unwrap(), &format!("/users/delta?{fields}"));
        check(requests.users().await.unwrap(), &format!("/users?{fields}&$top=999"));
        check(requests.directory_subscriptions().await.unwrap(), "/directory/subscriptions");
        check(requests.organization().await.unwrap(), "/organization?$select=id,displayName");
        let two = ["88888888-9999-4aaa-8bbb-ccccddddeeee", "99999999-9999-4aaa-8bbb-ccccddddeeee"];
        let groups = requests.groups_delta(&two.map(|it| it.parse().unwrap())).await.unwrap();
        assert_eq!(groups.url.path(), "/graph/v1.0/groups/delta");
        let asked: Vec<_> = groups.url.query_pairs().map(|(_, it)| it.into_owned()).collect();
        assert_eq!(asked[0], format!("id eq '{}' or id eq '{}'", two[0], two[1]));
        assert_eq!(asked[1], "id,displayName,groupTypes,assignedLicenses,members");
        let batch =
            requests.batch("/v1.0/$batch", &serde_json::json!({ "requests": [] })).await.unwrap();
        assert_eq!(batch.body.as_deref(), Some(&br#"{"requests":[]}"#[..]));
        assert_eq!(batch.method, Method::POST);
        check(batch, "/$batch");
        let body = serde_json::json!({ "resource": "users" });
        let made = requests.subscribe(&body).await.unwrap();
        assert_eq!(
            (&made.method, made.body.as_deref()),
            (&Method::POST, Some(&br#"{"resource":"users"}"#[..]))
        );
        check(made, "/subscriptions");
        let renewed = requests.renew_subscription("b-1", &body).await.unwrap();
        assert_eq!(renewed.method, Method::PATCH);
        check(renewed, "/subscriptions/b-1");
        let ended = requests.unsubscribe("b-1").await.unwrap();
        assert_eq!(ended.method, Method::DELETE);
        check(ended, "/subscriptions/b-1");
        let target = "/v1.0/users/delta?$skiptoken=a%2fB%2b~x%20+(y)";
        let it = requests.along(target).await.unwrap();
        assert_eq!(it.url.as_str(), format!("http://127.0.0.1:9/graph{target}"));
    }
}
