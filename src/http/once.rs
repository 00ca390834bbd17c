//! Requests that say by a key of their own that they may be repetitions.
//!
//! Source: contract section 5, `Idempotency-Key`.

use aws_lc_rs::digest;
use axum::http::HeaderMap;

use super::problem::Problem;
use crate::store::UsageRepeat;

/// The header that carries the key.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest idempotency key, in bytes.
const KEY_MAX: usize = 255;

/// Digests of the idempotency key, each asker's and route's own, and of the body; and the key.
pub(super) fn repeat(
    who: &str,
    route: &str,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Option<(UsageRepeat, String)>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim).filter(|it| (1..=KEY_MAX).contains(&it.len()));
    let Some(key) = key else {
        let detail = format!("an Idempotency-Key has 1 to {KEY_MAX} ASCII characters");
        return Err(Problem::invalid(detail).of_field("Idempotency-Key"));
    };
    let named = format!("{who}\0{route}\0{key}");
    let repeat = UsageRepeat { key: sha256(named.as_bytes()), body: sha256(bytes) };
    Ok(Some((repeat, named)))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap_or_default()
}
