//! Bodies: bounded, read whole, JSON whatever their `Content-Type` says: a visual may post
//! `text/plain` to spare the preflight.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The largest body where many things come at once, in bytes: a hundred questions with a package
/// token each, some thousand rows, or some five hundred notifications.
pub(super) const MANY_BYTES: usize = 256 * 1024;

/// Reads a body of at most so many bytes.
pub(super) async fn read(
    body: Body,
    headers: &HeaderMap,
    bytes_max: usize,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("send at most {bytes_max} bytes");
        Problem::body_too_large(detail)
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if announced.is_some_and(|it: u64| u64::try_from(bytes_max).is_ok_and(|max| it > max)) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_broken) => Err(Problem::malformed("the body did not arrive whole: send it again")),
    }
}

/// Reads JSON.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        // serde_json quotes at most one word of the text; say where and what kind, no more.
        let (line, column) = (error.line(), error.column());
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is of another type than expected",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => {
                "it is no JSON"
            }
        };
        Problem::malformed(format!("{what}, at line {line}, column {column}: see /openapi.json"))
    })
}
