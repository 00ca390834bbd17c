//! What stands in a path in place of an id.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The texts in a path: one, or more than one.
///
/// A path that is no text (`%FF`) holds an id like any that does not exist: its handler says so
/// itself, in its own time, to those who may ask.
pub(super) struct Ids<T = String>(pub(super) T);

/// Stands for what is no text; no id looks like it.
const UNREADABLE: &str = "\u{fffd}";

/// Texts that are no ids.
pub(super) trait Unreadable {
    /// As many of them.
    fn unreadable() -> Self;
}

impl Unreadable for String {
    fn unreadable() -> Self {
        UNREADABLE.to_owned()
    }
}

impl Unreadable for (String, String) {
    fn unreadable() -> Self {
        (String::unreadable(), String::unreadable())
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send + Unreadable> FromRequestParts<S> for Ids<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(texts)) => Ok(Self(texts)),
            Err(rejection) if is_of_client(&rejection) => Ok(Self(T::unreadable())),
            Err(rejection) => Err(Problem::internal("this is our fault").because(rejection)),
        }
    }
}

fn is_of_client(rejection: &PathRejection) -> bool {
    rejection.status().is_client_error()
}
