//! Tokens: one source for every kind of credential, one cache for every tenant and resource.

mod aadsts;
mod azure;
mod certificate;
mod cloud;
mod refused;
mod secret;
mod sign_in;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::Url;

use self::certificate::Certificate;
use self::refused::RefusedCredential;
pub use self::sign_in::{Departure, SignIn};
use super::error::{ErrorKind, MicrosoftError};
use super::http::{Http, Outgoing};
use super::meter::Meter;
use super::pace::Pace;
use crate::domain::{Access, Permission, TenantId};

/// How long before its end a token is renewed.
///
/// Source: marketplace-saas.md section 2.2; graph-licensing.md section 10.2.
const RENEW_EARLY: SignedDuration = SignedDuration::from_mins(5);
/// What is believed of a token whose answer does not say.
const LIFETIME_UNTOLD: SignedDuration = SignedDuration::from_mins(10);
/// How many (tenant, resource) pairs are remembered before those without a token are forgotten.
const SLOTS_MAX: usize = 20_000;

/// The permissions that a tenant's administrator is asked for where there are none at all.
const NEEDED: [Permission; 3] =
    [Permission::UserRead, Permission::LicenseAssignmentRead, Permission::OrganizationRead];

/// Text that nothing prints.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// How our app proves to Entra that it is itself.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A client secret.
    Secret(Secret),
    /// A PEM file's text with a certificate and its RSA key.
    Certificate {
        /// The text.
        pem: Secret,
    },
    /// The machine's managed identity itself: speaks in the publisher's tenant only.
    ManagedIdentity {
        /// The user-assigned identity; `None` for the system-assigned one.
        client_id: Option<String>,
    },
    /// Kubernetes' service account token as assertion for our app.
    WorkloadIdentity {
        /// Where the token lies; read anew each time.
        token_file: PathBuf,
    },
    /// Somebody else's token as assertion for our app, in any tenant.
    Federated {
        /// Whose token.
        assertion: Assertion,
    },
}

/// Whose token stands for our app.
#[derive(Clone, Debug)]
pub enum Assertion {
    /// The one in this file, read anew each time.
    File(PathBuf),
    /// That of the machine's managed identity.
    ManagedIdentity {
        /// The user-assigned identity; `None` for the system-assigned one.
        client_id: Option<String>,
    },
}

/// What a token is for.
pub(crate) struct Resource {
    /// The scope that is asked for.
    pub(crate) scope: String,
    /// Whether what it opens stands in its `roles`. The marketplace's does not: access to it comes
    /// from Partner Center's registration.
    pub(crate) by_roles: bool,
}

/// A bearer token.
pub(crate) struct Token {
    text: Secret,
    renew_at: Timestamp,
    access: Option<Access>,
}

impl Token {
    pub(crate) fn text(&self) -> &str {
        self.text.expose()
    }

    /// A token with these roles.
    #[cfg(test)]
    pub(crate) fn for_tests(roles: &[&str]) -> Self {
        let access = Some(Access::of_roles(roles.iter().copied()));
        Self { text: Secret::new("x"), renew_at: Timestamp::MAX, access }
    }

    /// What it opens of Graph; `None` when the token does not say.
    pub(crate) fn access(&self) -> Option<Access> {
        self.access
    }

    /// The permissions of licences that the tenant did not give; nothing when the token does not
    /// say.
    pub(crate) fn missing_roles(&self) -> Vec<&'static str> {
        let missing = self.access.iter().flat_map(Access::missing);
        missing.filter(|it| *it != Permission::GroupRead).map(Permission::as_str).collect()
    }
}

/// A token as it was issued.
struct Issued {
    text: String,
    lifetime: Lifetime,
}

enum Lifetime {
    Lasts(Option<SignedDuration>),
    Until(Timestamp),
}

#[derive(Default)]
struct Slot {
    /// How many fetches have ended: whoever waited for one takes its outcome, bad or good.
    fetches: AtomicU64,
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    failure: Option<MicrosoftError>,
}

/// Who we are and where tokens come from.
pub(crate) struct TokenSource {
    http: Http,
    pace: Pace,
    login: Url,
    identity_endpoint: Option<Url>,
    client_id: String,
    home: TenantId,
    proof: Proof,
    slots: Mutex<HashMap<(TenantId, String), Arc<Slot>>>,
    refused: RefusedCredential,
}

/// A credential, read and found usable.
enum Proof {
    Secret(Secret),
    Certificate(Arc<Certificate>),
    ManagedIdentity { client_id: Option<String> },
    WorkloadIdentity { token_file: PathBuf },
    Federated(Assertion),
}

impl TokenSource {
    /// # Errors
    ///
    /// [`ErrorKind::Credential`] when the certificate's PEM cannot be used.
    pub(crate) fn new(
        http: Http,
        pace: Pace,
        settings: &super::Settings,
    ) -> Result<Self, MicrosoftError> {
        let proof = match settings.credential.clone() {
            Credential::Secret(secret) => Proof::Secret(secret),
            Credential::Certificate { pem } => {
                Proof::Certificate(Arc::new(Certificate::parse(pem.expose())?))
            }
            Credential::ManagedIdentity { client_id } => Proof::ManagedIdentity { client_id },
            Credential::WorkloadIdentity { token_file } => Proof::WorkloadIdentity { token_file },
            Credential::Federated { assertion } => Proof::Federated(assertion),
        };
        Ok(Self {
            http,
            pace,
            login: settings.hosts.login.clone(),
            identity_endpoint: settings.identity_endpoint.clone(),
            client_id: settings.client_id.clone(),
            home: settings.tenant,
            proof,
            slots: Mutex::default(),
            refused: RefusedCredential::default(),
        })
    }

    /// The publisher's own tenant.
    pub(crate) fn home(&self) -> TenantId {
        self.home
    }

    /// A token for this resource in this tenant: the one at hand, or a new one. However many ask
    /// at once, one request goes out; while Entra refuses our credential, one a minute for all
    /// tenants. The flag says whether it was at hand.
    ///
    /// # Errors
    ///
    /// What Entra says, by [`aadsts`]; [`ErrorKind::Consent`] for a token of Graph's without any
    /// permission in it.
    pub(crate) async fn token(
        &self,
        meter: &Meter,
        tenant: TenantId,
        resource: &Resource,
    ) -> Result<(Arc<Token>, bool), MicrosoftError> {
        let slot = self.slot(tenant, &resource.scope);
        let seen = slot.fetches.load(SeqCst);
        let mut held = slot.held.lock().await;
        let now = self.pace.now();
        if let Some(token) = held.token.as_ref().filter(|it| now < it.renew_at) {
            return Ok((Arc::clone(token), true));
        }
        if slot.fetches.load(SeqCst) != seen
            && let Some(failure) = &held.failure
        {
            return Err(failure.clone());
        }
        if let Some(refusal) = self.refused.standing(meter, now) {
            return Err(refusal);
        }
        let fetched = self.fetch(meter, tenant, resource).await;
        self.refused.heard(&fetched, || self.pace.now());
        slot.fetches.fetch_add(1, SeqCst);
        match fetched {
            Ok(token) => {
                let token = Arc::new(token);
                *held = Held { token: Some(Arc::clone(&token)), failure: None };
                Ok((token, false))
            }
            Err(error) => {
                *held = Held { token: None, failure: Some(error.clone()) };
                Err(error)
            }
        }
    }

    /// Forgets a token that was refused, unless somebody has renewed it meanwhile.
    pub(crate) async fn forget(&self, tenant: TenantId, resource: &Resource, refused: &Arc<Token>) {
        let slot = self.slot(tenant, &resource.scope);
        let mut held = slot.held.lock().await;
        if held.token.as_ref().is_some_and(|it| Arc::ptr_eq(it, refused)) {
            held.token = None;
        }
    }

    /// Forgets the token of a tenant, whoever uses it: the next one is a new one.
    pub(crate) async fn renew(&self, tenant: TenantId, resource: &Resource) {
        *self.slot(tenant, &resource.scope).held.lock().await = Held::default();
    }

    fn slot(&self, tenant: TenantId, scope: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() > SLOTS_MAX {
            let now = self.pace.now();
            slots.retain(|_, slot| {
                slot.held.try_lock().map_or(true, |held| {
                    held.token.as_ref().is_some_and(|token| now < token.renew_at)
                })
            });
        }
        Arc::clone(slots.entry((tenant, scope.to_owned())).or_default())
    }

    async fn fetch(
        &self,
        meter: &Meter,
        tenant: TenantId,
        resource: &Resource,
    ) -> Result<Token, MicrosoftError> {
        let mut tries = self.pace.tries(meter);
        loop {
            match self.fetch_once(meter, tenant, resource).await {
                Ok(token) => return Ok(token),
                Err(error) => {
                    tries.again(error).await.map_err(MicrosoftError::after_all_tries)?;
                }
            }
        }
    }

    async fn fetch_once(
        &self,
        meter: &Meter,
        tenant: TenantId,
        resource: &Resource,
    ) -> Result<Token, MicrosoftError> {
        let scope = resource.scope.as_str();
        let issued = match &self.proof {
            Proof::Secret(secret) => self.by_secret(meter, secret, tenant, scope).await?,
            Proof::Certificate(certificate) => {
                self.by_certificate(meter, certificate, tenant, scope).await?
            }
            Proof::ManagedIdentity { client_id } => {
                self.by_managed_identity(meter, client_id.clone(), tenant, scope).await?
            }
            Proof::WorkloadIdentity { token_file } => {
                self.by_workload_identity(meter, token_file.clone(), tenant, scope).await?
            }
            Proof::Federated(assertion) => {
                self.by_assertion(meter, assertion, tenant, scope).await?
            }
        };
        let now = self.pace.now();
        let lifetime = match issued.lifetime {
            Lifetime::Lasts(lasts) => lasts.unwrap_or(LIFETIME_UNTOLD),
            Lifetime::Until(until) => until.duration_since(now),
        };
        let early = RENEW_EARLY.min(lifetime / 2);
        let renew_at = now.checked_add(lifetime.saturating_sub(early)).unwrap_or(Timestamp::MAX);
        let roles = roles_of(&issued.text);
        // A token may be issued to an app that was given nothing: Graph would say 403 to it all.
        if resource.by_roles && roles.as_ref().is_some_and(Vec::is_empty) {
            let what = format!(
                "tenant {tenant} gave our app no permission: its administrator must consent to {} \
                 (`entitled tenants consent-url {tenant}`)",
                NEEDED.map(Permission::as_str).join(", ")
            );
            return Err(MicrosoftError::new(ErrorKind::Consent, what).nothing_given());
        }
        let access = roles.map(|it| Access::of_roles(it.iter().map(String::as_str)));
        Ok(Token { text: Secret::new(issued.text), renew_at, access })
    }

    /// Where this tenant's tokens are issued.
    fn endpoint(&self, tenant: TenantId) -> Result<Url, MicrosoftError> {
        super::link::Base::new(self.login.clone(), &[])
            .join(&format!("/{tenant}/oauth2/v2.0/token"))
    }

    /// Sends a token request of either library; a refusal comes back as our error, by its code.
    /// The run's meter has counted it already: the libraries want futures that borrow nothing.
    async fn send(
        http: Http,
        outgoing: Outgoing,
        tenant: TenantId,
        home: TenantId,
        now: Timestamp,
    ) -> Result<super::http::Answer, MicrosoftError> {
        let mut answer =
            http.send("POST /{tenant}/oauth2/v2.0/token", &Meter::new(), outgoing).await?;
        if !answer.status.is_success() {
            return Err(aadsts::refusal(&answer, tenant, home, now));
        }
        let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(&answer.body) else {
            let what = format!(
                "no token for tenant {tenant}: {} came instead; check [microsoft] login",
                answer.looks_like()
            );
            return Err(MicrosoftError::new(ErrorKind::Unreadable, what).worth_another_try());
        };
        // The v1 endpoint writes "3599", the v2 endpoint 3599; both libraries want a number.
        if let Some(Value::String(text)) = body.get("expires_in")
            && let Ok(seconds) = text.trim().parse::<u64>()
        {
            body.insert("expires_in".into(), seconds.into());
            answer.body = Value::Object(body).to_string().into_bytes();
        }
        Ok(answer)
    }
}

/// The `roles` in a token of ours; `None` for one that cannot be looked into. Read for a better
/// error message only, so the signature does not matter.
fn roles_of(token: &str) -> Option<Vec<String>> {
    let payload = token.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&json).ok()?;
    let claims = claims.as_object()?;
    let roles = claims.get("roles").and_then(Value::as_array).map(Vec::as_slice);
    let names = roles.unwrap_or_default().iter().filter_map(Value::as_str);
    Some(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_from_tokens_that_can_be_looked_into() {
        let check = |claims: &str, roles: Option<&[&str]>| {
            let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
            let got = roles_of(&token);
            assert_eq!(got, roles.map(|it| it.iter().map(ToString::to_string).collect()));
        };
        check(r#"{"roles":["User.Read.All"]}"#, Some(&["User.Read.All"]));
        check(r#"{"aud":"x"}"#, Some(&[]));
        check(r#"{"roles":null}"#, Some(&[]));
        check("no json", None);
        assert_eq!(roles_of("opaque"), None);
        assert_eq!(roles_of("a.b.c"), None);
    }

    #[test]
    fn a_secret_does_not_print() {
        let credential = Credential::Secret(Secret::new("hunter2"));
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
