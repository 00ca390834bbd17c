//! A client secret, through the `oauth2` crate.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use oauth2::basic::BasicClient;
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse,
    RequestTokenError, Scope, TokenResponse as _, TokenUrl,
};
use url::Url;

use super::{Issued, Lifetime, Secret, TokenSource};
use crate::domain::TenantId;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::{Http, Outgoing};
use crate::microsoft::meter::Meter;

impl TokenSource {
    pub(super) async fn by_secret(
        &self,
        meter: &Meter,
        secret: &Secret,
        tenant: TenantId,
        scope: &str,
    ) -> Result<Issued, MicrosoftError> {
        let client = BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(secret.expose().trim().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.endpoint(tenant)?));
        let carrier = Carrier {
            http: self.http.clone(),
            meter,
            tenant,
            home: self.home,
            now: self.pace.now(),
        };
        let scope = Scope::new(scope.to_owned());
        let request = client.exchange_client_credentials().add_scope(scope);
        let answer = request.request_async(&carrier).await.map_err(|error| match error {
            RequestTokenError::Request(error) => error,
            RequestTokenError::ServerResponse(_)
            | RequestTokenError::Parse(_, _)
            | RequestTokenError::Other(_) => {
                let what = format!("no token for tenant {tenant}: Entra's answer holds none");
                MicrosoftError::new(ErrorKind::Unreadable, what).worth_another_try()
            }
        })?;
        let lasts = answer.expires_in().and_then(|it| SignedDuration::try_from(it).ok());
        let text = answer.access_token().secret().clone();
        Ok(Issued { text, lifetime: Lifetime::Lasts(lasts) })
    }
}

/// The crate's HTTP client: ours. A type of its own rather than a closure, through which the compiler
/// could not see that the future is `Send`.
struct Carrier<'a> {
    http: Http,
    meter: &'a Meter,
    tenant: TenantId,
    home: TenantId,
    now: Timestamp,
}

impl<'c> AsyncHttpClient<'c> for Carrier<'_> {
    type Error = MicrosoftError;
    type Future = BoxFuture<'c, Result<HttpResponse, MicrosoftError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.carry(request).boxed()
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
        let Self { http, meter, tenant, home, now } = self;
        let answer = TokenSource::send(http.clone(), meter, outgoing, *tenant, *home, *now).await?;
        let mut response = HttpResponse::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
