//! The purchase landing page: a buyer comes from Microsoft with a token, signs in, sees what was
//! bought, activates it, and sees the activation through.
//!
//! | step | route | does |
//! |---|---|---|
//! | 1 | `GET …/landing?token=…` | seals the token into a cookie, sends to Entra |
//! | 2 | `GET …/landing/return` | redeems the code, checks who it is |
//! | 3 | `GET …/landing/purchase` | resolves the token, shows the purchase, follows the activation |
//! | 4 | `POST …/landing/purchase` | activates, once |
//! | | `GET …/landing/account` | another account for the same purchase |
//!
//! The token is decoded once, never logged, in no address but the one that Microsoft made, and
//! forgotten as soon as it is resolved. Nothing is asked of Microsoft before somebody signed in.
//!
//! Source: `marketplace-saas.md` sections 4, 5.2, 6.1, 6.2 and 9.

mod access;
mod activation;
mod purchase;
mod seal;
mod sign_in;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use url::Url;

use self::activation::Activations;
use self::seal::{Person, Seal, Session, Ticket};
use super::page::{Page, keep_to_itself, too_many};
use super::{Public, Shared, client_of};
use crate::http::problem::{Cause, ProblemBody};
use crate::http::rates::Limited;
use crate::http::serve::Peer;
use crate::sync::orders::Orders;
use crate::sync::sign_in::SignIn;

/// Where the pages are, below the public address.
const ROUTE: &str = "/marketplace/landing";

/// What the landing page needs.
pub struct LandingSettings {
    /// Signs people in; if nobody can be, why, in words for the operator.
    pub sign_in: Result<SignIn, String>,
    /// Resolves, activates and looks.
    pub orders: Orders,
    /// What the pages call the publisher.
    pub publisher: String,
    /// Where people who need help are sent.
    pub support: Option<Url>,
    /// What the outside calls us, if it is known.
    pub public_url: Option<Url>,
}

impl LandingSettings {
    /// Where Entra sends people back to: to be registered with the app that signs them in.
    pub fn redirect(public_url: &Url) -> Url {
        let mut url = public_url.clone();
        url.set_path(&format!("{}{ROUTE}/return", public_url.path().trim_end_matches('/')));
        url.set_query(None);
        url.set_fragment(None);
        url
    }
}

/// The landing page.
pub(super) struct Landing {
    sign_in: Result<SignIn, String>,
    orders: Orders,
    publisher: String,
    support: Option<Url>,
    /// [`ROUTE`] as the outside has it.
    path: String,
    seal: Option<Seal>,
    activations: Activations,
}

impl Landing {
    /// `secret` seals what browsers keep for us.
    pub(super) fn new(settings: LandingSettings, secret: &[u8; 32]) -> Self {
        let LandingSettings { sign_in, orders, publisher, support, public_url } = settings;
        let prefix = public_url.as_ref().map_or("", |it| it.path().trim_end_matches('/'));
        let path = format!("{prefix}{ROUTE}");
        let secure = public_url.as_ref().is_some_and(|it| it.scheme() == "https");
        let seal = Seal::new(secret, &path, secure);
        let activations = Activations::default();
        Self { sign_in, orders, publisher, support, path, seal, activations }
    }
}

/// What becomes of a visit.
struct Answer {
    body: AnswerBody,
    /// What the browser keeps from now on, if it is something else.
    keep: Option<Box<Ticket>>,
    cause: Option<Cause>,
}

enum AnswerBody {
    Page(Box<Page>),
    /// Another address.
    To(String),
}

impl Answer {
    fn to(address: impl Into<String>) -> Self {
        Self { body: AnswerBody::To(address.into()), keep: None, cause: None }
    }

    fn keeping(self, ticket: Ticket) -> Self {
        Self { keep: Some(Box::new(ticket)), ..self }
    }

    fn because(self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Cause(Arc::new(cause))), ..self }
    }
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self { body: AnswerBody::Page(Box::new(page)), keep: None, cause: None }
    }
}

/// One request of somebody's browser.
struct Visit<'a> {
    public: &'a Public,
    landing: &'a Landing,
    sign_in: &'a SignIn,
    seal: &'a Seal,
    headers: HeaderMap,
    query: String,
    ip: IpAddr,
    now: Timestamp,
}

impl Visit<'_> {
    fn path(&self) -> &str {
        &self.landing.path
    }

    fn page_of(&self, rest: &str) -> String {
        format!("{}/{rest}", self.landing.path)
    }

    fn has_support(&self) -> bool {
        self.landing.support.is_some()
    }

    fn ticket(&self) -> Option<Ticket> {
        self.seal.open(&self.headers, self.now)
    }

    fn session(&self) -> Result<Session, Answer> {
        match self.ticket() {
            Some(Ticket::Signed(session)) => Ok(session),
            Some(Ticket::Leaving(_)) | None => Err(words::over().into()),
        }
    }

    /// Something that only a forger or somebody unlucky does.
    fn wrong(&self) -> Result<(), Answer> {
        self.public.limiters.wrong(self.ip).map_err(|it| self.limited(it))
    }

    fn limited(&self, limited: Limited) -> Answer {
        self.public.limited(limited);
        too_many(limited.wait_s).into()
    }
}

/// A buyer comes with a purchase token.
#[utoipa::path(
    get, path = "/marketplace/landing", tag = "marketplace",
    params(("token" = String, Query, description = "The purchase token, percent-encoded once")),
    responses(
        (status = 303, description = "To Entra's sign-in; a sealed cookie keeps the token"),
        (status = 400, description = "A page: there is no token, and how to get one", content_type = "text/html"),
        (status = 429, description = "A page: too many requests", content_type = "text/html"),
        (status = 503, description = "A page: what the operator has to set up", content_type = "text/html"),
    ),
)]
pub(super) async fn open(State(shared): State<Shared>, request: Request) -> Response {
    serve(&shared, request, async |visit, _body| visit.open()).await
}

/// Somebody wants to be another account, or sign in again.
#[utoipa::path(
    get, path = "/marketplace/landing/account", tag = "marketplace",
    responses(
        (status = 303, description = "To Entra's sign-in, which asks for an account"),
        (status = 403, description = "A page: no purchase is open in this browser", content_type = "text/html"),
    ),
)]
pub(super) async fn account(State(shared): State<Shared>, request: Request) -> Response {
    serve(&shared, request, async |visit, _body| visit.account()).await
}

/// Where Entra sends people back to.
#[utoipa::path(
    get, path = "/marketplace/landing/return", tag = "marketplace",
    params(
        ("code" = Option<String>, Query, description = "What the ID token is redeemed for"),
        ("state" = Option<String>, Query, description = "What was sent along to Entra"),
        ("error" = Option<String>, Query, description = "Why nobody signed in"),
    ),
    responses(
        (status = 303, description = "Signed in: to the purchase"),
        (status = 400, description = "A page: the sign-in was not begun in this browser, or is over", content_type = "text/html"),
        (status = 403, description = "A page: nobody signed in", content_type = "text/html"),
        (status = 503, description = "A page: Microsoft is away, or our app is not set up", content_type = "text/html"),
    ),
)]
pub(super) async fn come_back(State(shared): State<Shared>, request: Request) -> Response {
    serve(&shared, request, async |visit, _body| visit.come_back().await).await
}

/// What was bought, and where it stands.
#[utoipa::path(
    get, path = "/marketplace/landing/purchase", tag = "marketplace",
    responses(
        (status = 200, description = "A page: the purchase, with a form while it waits for its activation", content_type = "text/html"),
        (status = 400, description = "A page: the token has expired", content_type = "text/html"),
        (status = 403, description = "A page: no session, or the purchase belongs to others", content_type = "text/html"),
        (status = 503, description = "A page: Microsoft is away, or our registration is wrong", content_type = "text/html"),
    ),
)]
pub(super) async fn purchase(State(shared): State<Shared>, request: Request) -> Response {
    serve(&shared, request, async |visit, _body| visit.purchase().await).await
}

/// Activates what was bought.
#[utoipa::path(
    post, path = "/marketplace/landing/purchase", tag = "marketplace",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`form`: what the page's form holds"),
    responses(
        (status = 303, description = "Taken, or asked for before: back to the page, which follows it"),
        (status = 403, description = "A page: no session, or the form is another's", content_type = "text/html"),
        (status = 409, description = "A page: Microsoft refuses", content_type = "text/html"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "A page: Microsoft is away; nothing was changed", content_type = "text/html"),
    ),
)]
pub(super) async fn activate(State(shared): State<Shared>, request: Request) -> Response {
    let bytes_max = shared.body_bytes;
    serve(&shared, request, async move |visit, body| visit.activate(body, bytes_max).await).await
}

/// Answers a visit, whatever becomes of it.
async fn serve(
    shared: &Shared,
    request: Request,
    act: impl AsyncFnOnce(&Visit<'_>, Body) -> Result<Answer, Answer>,
) -> Response {
    let public = &shared.public;
    let (head, body) = request.into_parts();
    let Some(landing) = &public.landing else {
        let page = words::trouble("This listener was started without a landing page.", false);
        return page.into_response("entitled", None);
    };
    let unusable = "Cookies cannot be sealed; see the daemon's log.".to_owned();
    let (sign_in, seal) = match (&landing.sign_in, &landing.seal) {
        (Ok(sign_in), Some(seal)) => (sign_in, seal),
        (Err(why), _) => return landing.not_set_up(why),
        (_, None) => return landing.not_set_up(&unusable),
    };
    let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
    let query = head.uri.query().unwrap_or_default().to_owned();
    let (headers, now) = (head.headers, public.now());
    let visit = Visit { public, landing, sign_in, seal, headers, query, ip, now };
    let answer = match public.limiters.address(ip) {
        Ok(()) => act(&visit, body).await.unwrap_or_else(|instead| instead),
        Err(limited) => visit.limited(limited),
    };
    respond(&visit, answer)
}

fn respond(visit: &Visit<'_>, answer: Answer) -> Response {
    let landing = visit.landing;
    let cookie = answer.keep.as_ref().map(|ticket| visit.seal.set(ticket, visit.now));
    let body = match (answer.body, &cookie) {
        // Without its cookie no next step would work: the token is longer than any that was seen.
        (_, Some(None)) => AnswerBody::Page(Box::new(words::no_token())),
        (body, _) => body,
    };
    let mut response = match body {
        AnswerBody::Page(page) => page.into_response(&landing.publisher, landing.support.as_ref()),
        AnswerBody::To(address) => match HeaderValue::try_from(address) {
            Ok(address) => (StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response(),
            Err(_unsendable) => words::malformed().into_response(&landing.publisher, None),
        },
    };
    keep_to_itself(response.headers_mut());
    if let Some(Some(cookie)) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    if let Some(cause) = answer.cause {
        response.extensions_mut().insert(cause);
    }
    response
}

impl Landing {
    fn not_set_up(&self, why: &str) -> Response {
        tracing::error!(why, "A buyer came to the landing page, which is not set up");
        words::trouble(why, self.support.is_some())
            .into_response(&self.publisher, self.support.as_ref())
    }
}

impl From<crate::tokens::SignedIn> for Person {
    fn from(it: crate::tokens::SignedIn) -> Self {
        let (tenant, user) = (it.tenant, it.user.as_uuid());
        Self { tenant, user, name: it.name, login: it.login, email: it.email }
    }
}
