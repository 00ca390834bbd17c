//! What Microsoft says, in our words: wire formats end here.
//!
//! [`Marketplace`] tells subscriptions, [`Graph`] tells SKUs and who holds them, [`EntraKeySource`]
//! tells whose signature to believe. Each call is one request or one page with its own retries;
//! what a failure means is its [`ErrorKind`]. Nothing here decides, remembers or removes anything.

mod error;
mod graph;
mod http;
mod json;
mod keys;
mod limits;
mod link;
mod login;
mod marketplace;
mod meter;
mod pace;
mod partner_center;

use std::sync::Arc;

use url::Url;
use uuid::Uuid;

pub use self::error::{ErrorKind, MicrosoftError};
pub use self::graph::{
    AssignedLicence, BatchMiss, DeltaFrom, DeltaPage, Graph, GroupRow, MadeGraphSubscription,
    MemberKind, MemberRow, NewGraphSubscription, Organization, PageEnd, Removed, RightRow,
    RightsOf, UserRow, graph_scope,
};
pub use self::json::Read;
pub use self::keys::EntraKeySource;
pub use self::link::{Link, PAGES_MAX};
pub use self::login::{Assertion, Credential, Departure, Secret, SignIn};
pub use self::marketplace::{
    Accepted, Acknowledged, AvailablePlan, BillingTerm, Cancelled, Change, Glimpse, Marketplace,
    Operation, Resolved, USAGE_BATCH_MAX, UsageRow, UsageSaid, UsageStatus, Verdict,
};
pub use self::meter::{Meter, Room, Step};
pub use self::pace::{Clock, Jitter, Sleep};
pub use self::partner_center::{
    Execution, LicenceQuery, LicenceRow, LicenceTable, NoLicenceTable, OddRow, PartnerCenter,
    REPORT_BYTES_MAX, REPORT_ROWS_MAX, Recurrence, ReportJob, SavedQuery, licence_table, separator,
    separator_said,
};

use self::http::Http;
use self::login::TokenSource;
use self::pace::Pace;
use crate::domain::TenantId;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What it holds, in Microsoft's order; may be nothing.
    pub records: Vec<Read<T>>,
    /// The next one; `None` after the last.
    pub next: Option<Link>,
}

/// Where Microsoft is: contract section 3, `[microsoft]`.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// Entra's token endpoints, metadata and keys.
    pub login: Url,
    /// The SaaS fulfillment API.
    pub marketplace: Url,
    /// Microsoft Graph.
    pub graph: Url,
    /// Partner Center.
    pub partner_center: Url,
    /// Hosts, or what hosts end with, that its reports are fetched from as their links say.
    pub report_hosts: Vec<String>,
}

/// All that talking to Microsoft needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Microsoft is.
    pub hosts: Hosts,
    /// The publisher's own tenant.
    pub tenant: TenantId,
    /// Our app.
    pub client_id: String,
    /// How our app proves that it is itself.
    pub credential: Credential,
    /// Where a managed identity is asked, path included; `None` for wherever Azure says.
    pub identity_endpoint: Option<Url>,
}

/// Microsoft, as far as we talk to it.
pub struct Microsoft {
    marketplace: Marketplace,
    graph: Graph,
    partner_center: PartnerCenter,
    keys: EntraKeySource,
    login: Url,
    client_id: String,
    tokens: Arc<TokenSource>,
}

impl Microsoft {
    /// Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when the certificate's PEM cannot be used or TLS cannot be set up,
    /// [`ErrorKind::Refused`] for an address that cannot carry paths.
    pub fn new(settings: Settings, clock: Clock, sleep: Sleep) -> Result<Self, MicrosoftError> {
        Self::with_jitter(settings, clock, sleep, Arc::new(chance))
    }

    /// [`Self::new`] with the chance in its backoffs handed in.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_jitter(
        settings: Settings,
        clock: Clock,
        sleep: Sleep,
        jitter: Jitter,
    ) -> Result<Self, MicrosoftError> {
        let (http, pace) = (Http::new()?, Pace::new(clock, sleep, jitter));
        let tokens = Arc::new(TokenSource::new(http.clone(), pace.clone(), &settings)?);
        let Settings { hosts, tenant, client_id, .. } = settings;
        let Hosts { login, marketplace, graph, partner_center, report_hosts } = hosts;
        let (of_http, of_pace, of_tokens) = (http.clone(), pace.clone(), Arc::clone(&tokens));
        Ok(Self {
            marketplace: Marketplace::new(marketplace, of_http, of_pace, of_tokens),
            graph: Graph::new(&graph, http.clone(), pace.clone(), Arc::clone(&tokens))?,
            partner_center: PartnerCenter::new(
                partner_center,
                report_hosts,
                http.clone(),
                pace.clone(),
                Arc::clone(&tokens),
            ),
            keys: EntraKeySource::new(login.clone(), tenant, http, pace),
            login,
            client_id,
            tokens,
        })
    }

    /// The SaaS fulfillment API.
    pub fn marketplace(&self) -> &Marketplace {
        &self.marketplace
    }

    /// Microsoft Graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Partner Center's analytics API.
    pub fn partner_center(&self) -> &PartnerCenter {
        &self.partner_center
    }

    /// Our app's client id: what Graph shows may depend on who asks.
    pub fn app(&self) -> &str {
        &self.client_id
    }

    /// Signs people in with our app, or with another one that has a secret of its own.
    ///
    /// `redirect` is where Entra sends them back to, as registered with the app.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when this credential cannot sign people in.
    pub fn sign_in(
        &self,
        other_app: Option<(String, Secret)>,
        redirect: Url,
    ) -> Result<SignIn, MicrosoftError> {
        let (client_id, secret) = match other_app {
            Some((client_id, secret)) => (client_id, Some(secret)),
            None => (self.client_id.clone(), None),
        };
        let tokens = Arc::clone(&self.tokens);
        SignIn::new(self.login.clone(), client_id, secret, redirect, tokens)
    }

    /// Entra's signing keys.
    pub fn keys(&self) -> &EntraKeySource {
        &self.keys
    }
}

/// From 0 to 1, out of the random bits of a UUID.
fn chance() -> f64 {
    let (_, low) = Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(low & u64::from(u32::MAX)).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}
