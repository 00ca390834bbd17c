//! The keys behind signed answers: the one that signs, and all with which an answer that is still
//! valid can be checked.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;

use super::revocations;
use super::{Public, Shared};
use crate::decision::USABLE_FOR;
use crate::http::problem::Problem;
use crate::store::KeyRing;
use crate::tokens::{self, PublicKey, Signer};

/// The signer of the current key; made anew when the key was rotated.
pub(super) struct Signers {
    issuer: String,
    current: ArcSwapOption<Signer>,
}

impl Signers {
    pub(super) fn new(issuer: String) -> Self {
        Self { issuer, current: ArcSwapOption::empty() }
    }

    /// What signed answers and packages name as their issuer.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    fn current(&self, ring: &KeyRing) -> Result<Arc<Signer>, Problem> {
        let key = ring.current();
        if let Some(signer) = self.current.load_full().filter(|it| it.kid() == key.kid) {
            return Ok(signer);
        }
        let secret = ring.pseudonym_secret();
        let signer = Signer::new(&key.kid, &key.pkcs8, &self.issuer, &secret);
        let signer = Arc::new(signer.map_err(|error| unsigned().because(error))?);
        self.current.store(Some(Arc::clone(&signer)));
        Ok(signer)
    }
}

/// How long a key is published after it signs no more: until the last thing that it signed, an answer
/// or a list of revoked licenses, is valid no longer. Packages are valid longer: their keys stay.
pub const KEYS_PUBLISHED_FOR: SignedDuration =
    if USABLE_FOR.as_secs() > revocations::VALID_FOR.as_secs() {
        USABLE_FOR
    } else {
        revocations::VALID_FOR
    };

/// How long a client may keep the key set. Short: a key made by command signs as soon as it is
/// there. The next by schedule is in the set long before.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The keys that check the answers' signatures.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    responses(
        (status = 200, description = "A JSON Web Key Set (RFC 7517)", content_type = "application/jwk-set+json"),
        (status = 304, description = "Unchanged since the answer with this `ETag`"),
    ),
)]
pub(super) async fn jwks(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let set = shared.public.key_set();
    let digest = digest::digest(&digest::SHA256, set.as_bytes());
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.as_ref()));
    let fixed = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, CACHE_CONTROL)];
    if has(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, "application/jwk-set+json")], set).into_response()
}

/// Whether the client has it: one of the tags that it sends, in however many lines, is this one or
/// `*`. What a proxy marked as weak is the same for a GET.
///
/// Source: RFC 9110 sections 8.8.3.2 and 13.1.2.
fn has(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
    let mut tags = lines.flat_map(|it| it.split(',')).map(str::trim);
    tags.any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == etag)
}

impl Public {
    /// The current key and the next, those retired so lately that something they signed may still be
    /// kept, and those of packages.
    fn key_set(&self) -> String {
        let now = self.now();
        let keys: Vec<PublicKey> = self
            .store
            .keys()
            .published()
            .into_iter()
            .filter(|it| {
                let late = it.retired.is_none_or(|at| now.duration_since(at) <= KEYS_PUBLISHED_FOR);
                late || it.signed_packages
            })
            .map(|it| PublicKey { kid: it.kid, x: it.public.0, y: it.public.1 })
            .collect();
        tokens::jwks(&keys)
    }

    /// The signer.
    pub(super) fn signer(&self) -> Result<Arc<Signer>, Problem> {
        self.signers.current(self.store.keys())
    }
}

/// Why there is no answer when it cannot be signed.
pub(super) fn unsigned() -> Problem {
    Problem::internal("the answer cannot be signed: this is our fault")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_it_says_so_in_many_ways() {
        let check = |lines: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_NONE_MATCH, line.parse().unwrap());
            }
            assert_eq!(has(&headers, "\"a\""), expected, "{lines:?}");
        };
        check(&[], false);
        check(&["\"a\""], true);
        check(&["W/\"a\""], true);
        check(&["*"], true);
        check(&["\"b\", W/\"a\""], true);
        check(&["\"b\"", "\"a\""], true);
        check(&["\"b\"", "W/\"c\""], false);
        check(&["a", "w/\"a\""], false);
    }
}
