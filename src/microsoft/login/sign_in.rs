//! People sign in: authorization code with PKCE, state and nonce, through the `oauth2` crate.
//!
//! Source: Microsoft identity platform, "OAuth 2.0 authorization code flow"; RFC 7636.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{Assertion, Proof, Secret, TokenSource, aadsts};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::{Answer, Http, Outgoing};
use crate::microsoft::link::Base;
use crate::microsoft::meter::Meter;

/// Work and personal accounts of every tenant.
const AUTHORITY: &str = "/common/oauth2/v2.0";
const EXCHANGE: &str = "POST /common/oauth2/v2.0/token";
/// `profile` brings `oid`, `email` the address of a personal account. None of them needs an
/// administrator's consent.
const SCOPES: [&str; 3] = ["openid", "profile", "email"];

/// The one claim-bearing field beside those of OAuth 2.0.
#[derive(Debug, Serialize, Deserialize)]
struct WithIdToken {
    id_token: String,
}

impl ExtraTokenFields for WithIdToken {}

type Client = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<WithIdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Sends people to Entra and redeems what they come back with.
pub struct SignIn {
    client: Client,
    client_id: String,
    exchange: Url,
    secret: Option<Secret>,
    tokens: Arc<TokenSource>,
}

/// Somebody is sent to sign in. All but the address is to be kept, and compared when he returns.
pub struct Departure {
    /// Where to.
    pub url: Url,
    /// What he brings back unchanged.
    pub state: String,
    /// What his ID token repeats.
    pub nonce: String,
    /// What shows that whoever redeems the code is who sent him.
    pub verifier: String,
}

impl SignIn {
    /// Signs people in with this app; without a secret of its own it has the credential of
    /// `tokens`. `redirect` is registered with the app.
    pub(crate) fn new(
        login: Url,
        client_id: String,
        secret: Option<Secret>,
        redirect: Url,
        tokens: Arc<TokenSource>,
    ) -> Result<Self, MicrosoftError> {
        if secret.is_none() && matches!(tokens.proof, Proof::ManagedIdentity { .. }) {
            let what = "a managed identity cannot sign people in: set [landing] secret_file, or \
                        [identity] credential = \"federated\"";
            return Err(MicrosoftError::new(ErrorKind::Credential, what));
        }
        let base = Base::new(login, &[]);
        let exchange = base.join(&format!("{AUTHORITY}/token"))?;
        let authorize = base.join(&format!("{AUTHORITY}/authorize"))?;
        let client = oauth2::Client::new(ClientId::new(client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(authorize))
            .set_token_uri(TokenUrl::from_url(exchange.clone()))
            .set_redirect_uri(RedirectUrl::from_url(redirect));
        let client = match &secret {
            Some(it) => client.set_client_secret(ClientSecret::new(it.expose().trim().to_owned())),
            None => client,
        };
        Ok(Self { client, client_id, exchange, secret, tokens })
    }

    /// The app that signs people in.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Somebody sets out. With `choose` he is asked who he is, even if Entra knows.
    pub fn depart(&self, choose: bool) -> Departure {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random();
        let mut request = self
            .client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(SCOPES.map(|it| Scope::new(it.to_owned())))
            .add_extra_param("nonce", nonce.secret().clone())
            .add_extra_param("response_mode", "query")
            .set_pkce_challenge(challenge);
        if choose {
            request = request.add_extra_param("prompt", "select_account");
        }
        let (url, state) = request.url();
        Departure {
            url,
            state: state.into_secret(),
            nonce: nonce.into_secret(),
            verifier: verifier.into_secret(),
        }
    }

    /// The ID token that a code stands for, not looked into.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rejected`] when the code is not good, was redeemed before, or is another
    /// sign-in's; otherwise what Entra says of our app, or that it cannot be reached. Nothing is
    /// tried twice: a code is good once, and a person waits.
    pub async fn redeem(&self, code: String, verifier: String) -> Result<String, MicrosoftError> {
        let mut request = self
            .client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier));
        if self.secret.is_none() {
            for (name, value) in self.proof().await? {
                request = request.add_extra_param(name, value);
            }
        }
        let door = Carrier { http: self.tokens.http.clone(), tokens: &self.tokens };
        let answer = request.request_async(&door).await.map_err(|error| match error {
            RequestTokenError::Request(error) => error,
            RequestTokenError::ServerResponse(_)
            | RequestTokenError::Parse(_, _)
            | RequestTokenError::Other(_) => {
                let what = "nobody can be signed in: Entra's answer holds no ID token";
                MicrosoftError::new(ErrorKind::Unreadable, what)
            }
        })?;
        Ok(answer.extra_fields().id_token.clone())
    }

    /// How the app shows that it is itself, with the credential of `[identity]`.
    async fn proof(&self) -> Result<Vec<(Cow<'static, str>, Cow<'static, str>)>, MicrosoftError> {
        let tokens = &self.tokens;
        let assertion = match &tokens.proof {
            Proof::Secret(secret) => {
                let secret = secret.expose().trim().to_owned();
                return Ok(vec![("client_secret".into(), secret.into())]);
            }
            Proof::Certificate(certificate) => {
                let now = tokens.pace.now();
                certificate.assertion(&self.client_id, self.exchange.as_str(), now)?
            }
            Proof::WorkloadIdentity { token_file } => {
                let file = Assertion::File(token_file.clone());
                tokens.assertion(&Meter::new(), &file, tokens.home).await?
            }
            Proof::Federated(assertion) => {
                tokens.assertion(&Meter::new(), assertion, tokens.home).await?
            }
            Proof::ManagedIdentity { .. } => {
                let what = "a managed identity cannot sign people in";
                return Err(MicrosoftError::new(ErrorKind::Credential, what));
            }
        };
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        Ok(vec![
            ("client_assertion_type".into(), kind.into()),
            ("client_assertion".into(), assertion.into()),
        ])
    }
}

/// The crate's HTTP client: ours.
struct Carrier<'t> {
    http: Http,
    tokens: &'t TokenSource,
}

impl<'c> AsyncHttpClient<'c> for Carrier<'_> {
    type Error = MicrosoftError;
    type Future = BoxFuture<'c, Result<HttpResponse, MicrosoftError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.carry(request))
    }
}

impl Carrier<'_> {
    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, MicrosoftError> {
        let (parts, body) = request.into_parts();
        let wrong =
            || MicrosoftError::new(ErrorKind::Credential, "[microsoft] login is no address");
        let url = Url::parse(&parts.uri.to_string()).map_err(|_bad| wrong())?;
        let (method, headers) = (parts.method, parts.headers);
        let outgoing = Outgoing { method, url, headers, body: Some(body) };
        let answer = self.http.send(EXCHANGE, &Meter::new(), outgoing).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        let mut response = HttpResponse::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    /// `invalid_grant` is about the code that a person brought; anything else about our app.
    fn refusal(&self, answer: &Answer) -> MicrosoftError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if body.get("error").and_then(Value::as_str) == Some("invalid_grant") {
            let what = "the code of a sign-in is not good, or no longer";
            return MicrosoftError::new(ErrorKind::Rejected, what).of_request(answer.request_id());
        }
        let home = self.tokens.home;
        aadsts::refusal(answer, home, home, self.tokens.pace.now())
    }
}
