//! What routes for servers that sell refuse alike, described once.

use std::collections::BTreeMap;

use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::http::problem::ProblemBody;

/// Of whoever may not, or comes too often.
pub(super) struct CallerRefusals;

/// And where something is written.
pub(super) struct WriteRefusals;

const WHO: [(u16, &str); 3] = [
    (401, "No caller key, or an unknown one"),
    (403, "A user's token, or a caller that may not sell licenses"),
    (429, "Too many requests: see Retry-After"),
];

type Described = BTreeMap<String, RefOr<Response>>;

fn described(all: impl IntoIterator<Item = (u16, &'static str)>) -> Described {
    let problem = || Ref::from_schema_name(<ProblemBody<'_> as ToSchema>::name());
    let one = |(status, what): (u16, &str)| {
        let content = Content::new(Some(problem()));
        let response = ResponseBuilder::new().description(what);
        let response = response.content("application/problem+json", content).build();
        (status.to_string(), RefOr::T(response))
    };
    all.into_iter().map(one).collect()
}

impl IntoResponses for CallerRefusals {
    fn responses() -> Described {
        described(WHO)
    }
}

impl IntoResponses for WriteRefusals {
    fn responses() -> Described {
        described(WHO.into_iter().chain([(503, "It cannot be written down: see Retry-After")]))
    }
}
