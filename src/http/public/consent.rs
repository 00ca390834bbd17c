//! Where an administrator comes back to after consenting: what became of it, in plain words.
//!
//! Nothing in the address is believed: the link's `state` is ours and sealed, and that the tenant
//! lets us in is seen by reading it, with a new token. Who consents in Microsoft's own portal comes
//! without our link: a tenant that we know is then read just as well, and nothing is told of it.
//!
//! Source: contract section 5; `graph-licensing.md` sections 10.1 and 10.2.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::timeout;
use tracing::{info, warn};
use url::Url;

use super::page::{Page, aadsts, field, too_many};
use super::{Public, Shared, client_of};
use crate::domain::{Access, Cause, Commit, Grant, Permission, SourceKey, TenantId, Trigger};
use crate::http::consent::{BadState, ConsentLink, Consents};
use crate::http::limits::HANDLER;
use crate::http::rates::Limited;
use crate::http::serve::Peer;
use crate::sync::SyncHandle;
use crate::sync::admission::{Admission, Doorkeeper};

/// What the consent page needs.
pub struct ConsentSettings {
    /// What links are made of.
    pub link: ConsentLink,
    /// Sees whether a tenant lets us in.
    pub doorkeeper: Doorkeeper,
    /// The door to the scheduler: a tenant that lets us in is read at once.
    pub sync: SyncHandle,
    /// What the page calls the publisher.
    pub publisher: String,
    /// Where people who need help are sent.
    pub support: Option<Url>,
}

/// The consent page.
pub(super) struct Consent {
    consents: Consents,
    doorkeeper: Doorkeeper,
    sync: SyncHandle,
    publisher: String,
    support: Option<Url>,
}

impl Consent {
    /// `secret` seals what links bring back.
    pub(super) fn new(settings: ConsentSettings, secret: &[u8; 32]) -> Self {
        let ConsentSettings { link, doorkeeper, sync, publisher, support } = settings;
        Self { consents: Consents::new(link, secret), doorkeeper, sync, publisher, support }
    }
}

/// An administrator comes back from Microsoft.
#[utoipa::path(
    get, path = "/marketplace/consent", tag = "marketplace",
    params(
        ("admin_consent" = Option<String>, Query, description = "`True`, Microsoft says, if the administrator consented"),
        ("tenant" = Option<String>, Query, description = "Which organization consented, Microsoft says; confirmed by reading it"),
        ("state" = Option<String>, Query, description = "What the link was sealed with; absent after consenting in Microsoft's own portal"),
        ("error" = Option<String>, Query, description = "Why nobody consented"),
        ("error_description" = Option<String>, Query, description = "The same, for people; only its AADSTS code is shown"),
    ),
    responses(
        (status = 200, description = "A page: the organization lets us in, and how far", content_type = "text/html"),
        (status = 202, description = "A page: Microsoft does not show the consent yet", content_type = "text/html"),
        (status = 400, description = "A page: the link is incomplete, changed or too old", content_type = "text/html"),
        (status = 403, description = "A page: declined, or another organization consented", content_type = "text/html"),
        (status = 429, description = "A page: too many requests", content_type = "text/html"),
        (status = 503, description = "A page: the listener has no consent page", content_type = "text/html"),
    ),
)]
pub(super) async fn come_back(State(shared): State<Shared>, request: Request) -> Response {
    let public = &shared.public;
    let Some(consent) = &public.consent else {
        let page = Page::new(StatusCode::SERVICE_UNAVAILABLE, "This page does not work here")
            .text("This listener was started without a consent page.");
        return page.into_response("entitled", None);
    };
    let (head, _body) = request.into_parts();
    let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
    let query = head.uri.query().unwrap_or_default();
    let page = match public.limiters.address(ip) {
        Ok(()) => {
            let answer = consent.answer(public, ip, query).await;
            // Whoever makes links up is kept from trying on.
            match answer {
                Err(Wrong::NotOurs) => match public.limiters.wrong(ip) {
                    Ok(()) => not_ours(),
                    Err(limited) => limited_page(public, limited),
                },
                Err(wrong) => consent.explain(public, &wrong),
                Ok(page) => page,
            }
        }
        Err(limited) => limited_page(public, limited),
    };
    page.into_response(&consent.publisher, consent.support.as_ref())
}

/// Has a tenant read when it goes: after the new token that what was consented to shows in, and when
/// the request is given up while it waits for Microsoft too.
struct ReadAfterwards<'a> {
    sync: &'a SyncHandle,
    tenant: TenantId,
}

impl Drop for ReadAfterwards<'_> {
    fn drop(&mut self) {
        self.sync.look_now(SourceKey::directory(self.tenant), Trigger::Manual);
    }
}

/// Why there is no consent.
enum Wrong {
    /// The link is none of ours, or not whole.
    NotOurs,
    /// Too many came without a link.
    TooOften(Limited),
    /// The link was ours, and is too old.
    Over(TenantId),
    /// Microsoft says that nobody consented; the digits of its code.
    Declined(TenantId, Option<String>),
    /// Another organization consented than the one the link was made for.
    Other(TenantId),
}

impl Consent {
    async fn answer(&self, public: &Arc<Public>, ip: IpAddr, query: &str) -> Result<Page, Wrong> {
        let consented = field(query, "admin_consent");
        let consented = consented.is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let consented = consented && field(query, "error").is_none();
        let told = field(query, "tenant").and_then(|it| it.trim().parse().ok());
        let state = field(query, "state").unwrap_or_default();
        if state.is_empty() && consented {
            return self.without_link(public, ip, told.ok_or(Wrong::NotOurs)?).await;
        }
        let tenant = self.consents.tenant(&state, public.now()).map_err(|bad| match bad {
            BadState::NotOurs => Wrong::NotOurs,
            BadState::Over(tenant) => Wrong::Over(tenant),
        })?;
        if !consented {
            let said = field(query, "error_description").unwrap_or_default();
            return Err(Wrong::Declined(tenant, aadsts(&said)));
        }
        if told != Some(tenant) {
            return Err(Wrong::Other(tenant));
        }
        self.make_known(public, tenant).await;
        Ok(match self.look(tenant).await {
            Admission::Confirmed { name, access } => thanks(name.as_deref(), &access),
            Admission::NotSeen => not_yet(),
        })
    }

    /// For somebody who consented in Microsoft's own portal, or says so: whoever he is, he hears
    /// nothing of the tenant.
    async fn without_link(
        &self,
        public: &Public,
        ip: IpAddr,
        tenant: TenantId,
    ) -> Result<Page, Wrong> {
        if public.store.mirror().tenant(tenant).is_none() {
            return Err(Wrong::NotOurs);
        }
        public.limiters.consent(ip, tenant).map_err(Wrong::TooOften)?;
        Ok(match self.look(tenant).await {
            Admission::Confirmed { .. } => thanks_whoever(),
            Admission::NotSeen => not_yet(),
        })
    }

    /// Whether the tenant lets us in; it is read in any case, also if nobody waits for this page any
    /// more.
    async fn look(&self, tenant: TenantId) -> Admission {
        let _read = ReadAfterwards { sync: &self.sync, tenant };
        let seen = timeout(HANDLER, self.doorkeeper.admission(tenant)).await;
        let admission = seen.unwrap_or(Admission::NotSeen);
        info!(tenant.id = %tenant, admission = admission.as_str(), "An administrator came back from consenting");
        admission
    }

    /// A tenant that nobody has heard of is read from now on: an operator made the link.
    async fn make_known(&self, public: &Arc<Public>, tenant: TenantId) {
        if public.store.mirror().tenant(tenant).is_some() {
            return;
        }
        let now = public.now();
        let known = public.store.decide(move |mirror| {
            let mut commit = Commit::default();
            commit.hear_of(mirror, tenant, &Cause::Command, now);
            (Some(commit), ())
        });
        if let Err(error) = known.await {
            warn!(error = &error as &dyn std::error::Error, "A tenant could not be written down");
        }
    }

    fn explain(&self, public: &Public, wrong: &Wrong) -> Page {
        let again = |page: Page, tenant: TenantId| match self.consents.link(tenant, public.now()) {
            Some(link) => page.button(link.as_str(), "Try again"),
            None => page,
        };
        match wrong {
            Wrong::NotOurs => not_ours(),
            Wrong::TooOften(limited) => limited_page(public, *limited),
            Wrong::Over(tenant) => again(over(), *tenant),
            Wrong::Declined(tenant, code) => again(declined(code.as_deref()), *tenant),
            Wrong::Other(tenant) => again(other(), *tenant),
        }
    }
}

fn limited_page(public: &Public, limited: Limited) -> Page {
    let wait_s = limited.wait_s;
    public.limited(limited);
    too_many(wait_s)
}

fn not_ours() -> Page {
    Page::new(StatusCode::BAD_REQUEST, "This link is incomplete")
        .state("warn", "Nothing was changed")
        .text(
            "This page needs the whole link that we sent, and a part of it is missing or was \
             changed. Please open the link from our message once more, or ask us for a new one.",
        )
}

fn over() -> Page {
    Page::new(StatusCode::BAD_REQUEST, "This link has expired")
        .state("warn", "Nothing was changed here")
        .text(
            "A link is good for 30 days, and this one is older. If you have just consented at \
             Microsoft, we will see it by ourselves within the hour; otherwise please try again.",
        )
}

fn declined(code: Option<&str>) -> Page {
    let page = Page::new(StatusCode::FORBIDDEN, "Your organization has not consented")
        .state("warn", "Nothing was changed")
        .text(
            "Microsoft tells us that the consent was declined or could not be given. Without it we \
             cannot see which of your users have a licence, and the product cannot recognize them.",
        )
        .text(
            "Only an administrator of your organization can consent (Global Administrator or \
             Privileged Role Administrator). If you are none, please hand the link on.",
        );
    match code {
        Some(code) => page.text(&format!("Microsoft's reason: AADSTS{code}.")),
        None => page,
    }
}

fn other() -> Page {
    Page::new(StatusCode::FORBIDDEN, "Another organization has consented")
        .state("warn", "Nothing was changed here")
        .text(
            "The link was made for one organization, and the account that you signed in with \
             belongs to another. Please try again with an administrator's account of the \
             organization that bought the product.",
        )
}

fn not_yet() -> Page {
    Page::new(StatusCode::ACCEPTED, "Thank you: we are waiting for Microsoft")
        .state("ok", "Nothing more to do")
        .text(
            "Microsoft has recorded your consent and does not show it to us yet. That may take some \
             minutes. We look again by ourselves; you can close this page.",
        )
}

fn thanks_whoever() -> Page {
    Page::new(StatusCode::OK, "Thank you: your licences can be read now")
        .state("ok", "Consent confirmed")
        .text("They are being read now; the product recognizes your users in some minutes.")
}

fn thanks(name: Option<&str>, access: &Access) -> Page {
    let title = "Thank you: your licences can be read now";
    let whose = name.map_or_else(
        || "Your organization lets us see its licences.".to_owned(),
        |name| format!("{name} lets us see its licences."),
    );
    let given = access.all().filter(|(_, it)| *it == Grant::Granted).map(|(it, _)| it.purpose());
    let given: Vec<String> = given.map(|it| format!("We can {it}.")).collect();
    let page = Page::new(StatusCode::OK, title)
        .state("ok", "Consent confirmed")
        .text(&whose)
        .text("They are being read now; the product recognizes your users in some minutes.")
        .choices(&given.iter().map(String::as_str).collect::<Vec<_>>());
    let missing: Vec<String> = access
        .missing()
        .filter(|it| it.is_needed() || *it == Permission::OrganizationRead)
        .map(|it| format!("{it}: {}", access.without(it)))
        .collect();
    if missing.is_empty() {
        page
    } else {
        page.html("<h2>What was not given</h2>\n")
            .choices(&missing.iter().map(String::as_str).collect::<Vec<_>>())
    }
}
