//! The list of licenses that were revoked while a package of theirs may still work offline.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};

use super::keys::unsigned;
use super::{Public, Shared};
use crate::domain::{License, LicenseBook};
use crate::http::problem::{Problem, ProblemBody};

/// How long a list may be believed by whoever cannot fetch a new one.
pub(super) const VALID_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long it may be kept by caches on the way, in seconds.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// Revoked licenses of which a package may still work offline, as a compact JWS: `revoked` holds the first 12
/// bytes of the SHA-256 of `entitled revocation`, a line feed and the license's id, in base64url.
#[utoipa::path(
    get, path = "/.well-known/revocations", tag = "keys",
    responses(
        (status = 200, description = "A compact JWS (ES256, `typ` `entitled-revocations+jwt`)", content_type = "application/jwt"),
        (status = 500, description = "It cannot be signed", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(shared): State<Shared>) -> Result<Response, Problem> {
    let list = shared.public.revocations()?;
    let head = [(header::CONTENT_TYPE, "application/jwt"), (header::CACHE_CONTROL, CACHE_CONTROL)];
    Ok((head, list).into_response())
}

impl Public {
    fn revocations(&self) -> Result<String, Problem> {
        let (mirror, now) = (self.store.snapshot(), self.now());
        let book = mirror.licenses();
        let revoked = book.all().filter(|it| matters(book, it, now));
        let until = now.saturating_add(VALID_FOR).unwrap_or(now);
        let ids = revoked.map(|it| it.id.as_str());
        let signed = self.signer()?.revocations(ids, now, until);
        signed.map_err(|error| unsigned().because(error))
    }
}

/// Whether a package of it might still work offline: one that was signed here, for however long its
/// period was by then; or one that was signed elsewhere for the period that it has.
fn matters(book: &LicenseBook, it: &License, now: Timestamp) -> bool {
    let elsewhere = || it.period_end.or(it.trial_end).is_none_or(|end| now < end);
    it.revoked_at.is_some() && (book.packaged(it.id).is_some_and(|it| it.works(now)) || elsewhere())
}
