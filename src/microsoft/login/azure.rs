//! Credentials without a secret, through `azure_identity`.
//!
//! The library caches and retries by itself and insists on an https authority. Here it gets a
//! fresh credential for each token, no retry, and a transport that goes through our one HTTP
//! client and leads its authority to the configured `login`: so there is one cache, one retry,
//! and a sandbox on loopback works.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::error::ErrorKind as AzureErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientMethodOptions, ClientOptions, HttpClient, Method as AzureMethod,
    Request, RetryOptions, StatusCode, Transport,
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{Assertion, Certificate, Issued, Lifetime, TokenSource};
use crate::domain::TenantId;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::{Http, Outgoing};
use crate::microsoft::meter::Meter;

/// The authority that `azure_identity` is told; our transport puts `login` in its place. The name
/// can exist nowhere (RFC 6761).
const AUTHORITY: &str = "https://login.invalid";
/// What a token for another app's federated credential is asked for.
///
/// Source: Entra, "Configure an application to trust a managed identity".
const EXCHANGE_SCOPE: &str = "api://AzureADTokenExchange/.default";

impl TokenSource {
    pub(super) async fn by_certificate(
        &self,
        meter: &Meter,
        certificate: &Arc<Certificate>,
        tenant: TenantId,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        let endpoint = self.endpoint(tenant)?;
        let signed = certificate.assertion(&self.client_id, endpoint.as_str(), self.pace.now())?;
        self.exchange(meter, signed, tenant, scope).await
    }

    pub(super) async fn by_assertion(
        &self,
        meter: &Meter,
        assertion: &Assertion,
        tenant: TenantId,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        let text = self.assertion(meter, assertion, tenant).await?;
        self.exchange(meter, text, tenant, scope).await
    }

    /// Somebody else's token that stands for our app.
    pub(super) async fn assertion(
        &self,
        meter: &Meter,
        assertion: &Assertion,
        tenant: TenantId,
    ) -> Result<String, MicrosoftError> {
        let text = match assertion {
            Assertion::File(path) => {
                tokio::fs::read_to_string(path).await.map_err(|error| unreadable(path, &error))?
            }
            Assertion::ManagedIdentity { client_id } => {
                let credential = self.managed_identity(client_id.clone(), tenant)?;
                self.ask(meter, credential, EXCHANGE_SCOPE).await?.text
            }
        };
        Ok(text.trim().to_owned())
    }

    pub(super) async fn by_managed_identity(
        &self,
        meter: &Meter,
        client_id: Option<String>,
        tenant: TenantId,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        if tenant != self.home {
            let what = "a managed identity signs in to its own tenant only: set [identity] \
                        credential = \"federated\" to read customers' tenants";
            return Err(MicrosoftError::new(ErrorKind::Credential, what));
        }
        let credential = self.managed_identity(client_id, tenant)?;
        self.ask(meter, credential, scope).await
    }

    pub(super) async fn by_workload_identity(
        &self,
        meter: &Meter,
        token_file: PathBuf,
        tenant: TenantId,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: self.options(tenant),
            },
            client_id: Some(self.client_id.clone()),
            tenant_id: Some(tenant.to_string()),
            token_file_path: Some(token_file),
        };
        let credential = WorkloadIdentityCredential::new(Some(options)).map_err(|it| ours(&it))?;
        self.ask(meter, credential, scope).await
    }

    /// Exchanges an assertion for a token.
    async fn exchange(
        &self,
        meter: &Meter,
        assertion: String,
        tenant: TenantId,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        let options = ClientAssertionCredentialOptions { client_options: self.options(tenant) };
        let (tenant, client) = (tenant.to_string(), self.client_id.clone());
        let credential =
            ClientAssertionCredential::new(tenant, client, Ready(assertion), Some(options));
        self.ask(meter, credential.map_err(|it| ours(&it))?, scope).await
    }

    fn managed_identity(
        &self,
        client_id: Option<String>,
        tenant: TenantId,
    ) -> Result<Arc<ManagedIdentityCredential>, MicrosoftError> {
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.map(UserAssignedId::ClientId),
            client_options: self.options(tenant),
        };
        ManagedIdentityCredential::new(Some(options)).map_err(|it| ours(&it))
    }

    async fn ask(
        &self,
        meter: &Meter,
        credential: Arc<dyn TokenCredential>,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        meter.request();
        let token: AccessToken =
            credential.get_token(&[scope], None).await.map_err(|it| ours(&it))?;
        let until = Timestamp::from_second(token.expires_on.unix_timestamp());
        let until = until.unwrap_or(Timestamp::UNIX_EPOCH);
        let text = token.token.secret().to_owned();
        Ok(Issued { text, lifetime: Lifetime::Until(until) })
    }

    fn options(&self, tenant: TenantId) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = AUTHORITY.into();
        let door = Door {
            http: self.http.clone(),
            endpoint: self.endpoint(tenant).ok(),
            identity_endpoint: self.identity_endpoint.clone(),
            tenant,
            home: self.home,
            now: self.pace.now(),
        };
        ClientOptions {
            transport: Some(Transport::new(Arc::new(door))),
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        }
    }
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> MicrosoftError {
    let what = format!("the federated token in {} cannot be read: {error}", path.display());
    MicrosoftError::new(ErrorKind::Credential, what)
}

/// The error that our transport put in, or, if the library found fault by itself, what it says.
fn ours(error: &azure_core::Error) -> MicrosoftError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(it) = cause {
        if let Some(found) = it.downcast_ref::<MicrosoftError>() {
            return found.clone();
        }
        cause = it.source();
    }
    let line = error.to_string();
    let line: String = line.lines().next().unwrap_or_default().chars().take(200).collect();
    MicrosoftError::new(ErrorKind::Credential, format!("no credential: {line}; check [identity]"))
}

/// An assertion that is already there.
struct Ready(String);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready(***)")
    }
}

#[async_trait]
impl ClientAssertion for Ready {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.clone())
    }
}

/// The library's way out: our client.
struct Door {
    http: Http,
    endpoint: Option<Url>,
    identity_endpoint: Option<Url>,
    tenant: TenantId,
    home: TenantId,
    now: Timestamp,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Door {
    async fn pass(&self, request: &Request) -> Result<AsyncRawResponse, MicrosoftError> {
        let to_entra = request.url().as_str().starts_with(AUTHORITY);
        let outgoing = self.outgoing(request, to_entra)?;
        let answer = if to_entra {
            let http = self.http.clone();
            TokenSource::send(http, outgoing, self.tenant, self.home, self.now).await?
        } else {
            let answer = self.http.send("GET managed identity", &Meter::new(), outgoing).await?;
            if !answer.status.is_success() {
                return Err(identity_refusal(answer.status.as_u16()));
            }
            answer
        };
        let status = StatusCode::from(answer.status.as_u16());
        Ok(AsyncRawResponse::from_bytes(status, Headers::default(), answer.body))
    }

    fn outgoing(&self, request: &Request, to_entra: bool) -> Result<Outgoing, MicrosoftError> {
        let wrong = |what: &str| MicrosoftError::new(ErrorKind::Credential, what);
        let url = if to_entra {
            self.endpoint.clone().ok_or_else(|| wrong("[microsoft] login is no address"))?
        } else if let Some(mut own) = self.identity_endpoint.clone() {
            own.set_query(request.url().query());
            own
        } else {
            request.url().clone()
        };
        let method = match request.method() {
            AzureMethod::Post => reqwest::Method::POST,
            AzureMethod::Get => reqwest::Method::GET,
            AzureMethod::Delete | AzureMethod::Head | AzureMethod::Patch | AzureMethod::Put | _ => {
                return Err(wrong("the identity library sent an unexpected request"));
            }
        };
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers().iter() {
            let name = HeaderName::from_bytes(name.as_str().as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.as_str())) {
                headers.insert(name, value);
            }
        }
        let body = match request.body() {
            Body::Bytes(bytes) if bytes.is_empty() => None,
            Body::Bytes(bytes) => Some(bytes.to_vec()),
            Body::SeekableStream(_) => {
                return Err(wrong("the identity library sent an unexpected body"));
            }
        };
        Ok(Outgoing { method, url, headers, body })
    }
}

/// Source: Azure, "How to use managed identities": 400 for an identity that is not assigned, 404,
/// 410, 429 and 5xx while the service is not ready.
fn identity_refusal(status: u16) -> MicrosoftError {
    let kind = match status {
        404 | 410 | 429 | 500..=599 => ErrorKind::Transient,
        _ => ErrorKind::Credential,
    };
    let what = format!(
        "this machine's managed identity gives no token ({status}): assign the identity to it, or \
         check its client id in [identity]"
    );
    MicrosoftError::new(kind, what)
}

#[async_trait]
impl HttpClient for Door {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        // `Other` is the kind that no layer of the library retries or rewrites.
        let wrap = |error: MicrosoftError| azure_core::Error::new(AzureErrorKind::Other, error);
        self.pass(request).await.map_err(wrap)
    }
}
