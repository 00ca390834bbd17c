//! The description of the public routes, generated from the handlers and their types.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    activations, answer, consent, entitlements, graph, keys, landing, license_book, licenses,
    question, revocations, usage, usage_report, webhook,
};
use crate::http::problem::ProblemBody;

#[derive(OpenApi)]
#[openapi(
    info(title = "entitled", description = "Who may use what, by which right, until when."),
    paths(
        entitlements::answer_one,
        entitlements::answer_batch,
        activations::activate,
        usage::report,
        usage::show,
        license_book::activations,
        license_book::remove,
        licenses::issue,
        license_book::list,
        license_book::import,
        license_book::export,
        license_book::overlap,
        license_book::switch_plan,
        licenses::show,
        licenses::renew,
        licenses::change,
        licenses::cancel,
        licenses::suspend,
        licenses::reinstate,
        licenses::revoke,
        license_book::reissue,
        license_book::package,
        webhook::receive,
        graph::notifications,
        graph::lifecycle,
        landing::open,
        landing::account,
        landing::come_back,
        landing::purchase,
        landing::activate,
        consent::come_back,
        keys::jwks,
        revocations::list,
        document
    ),
    components(schemas(question::QuestionBody, answer::Answer, usage_report::ReportBody, usage::UsageBody, usage::BatchRow, ProblemBody)),
    modifiers(&Credentials),
)]
struct Description;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = |description: &str| {
            let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
            SecurityScheme::Http(http.description(Some(description)).build())
        };
        let components = openapi.components.get_or_insert_default();
        let of_user = "an Entra user token for our audience (v1 or v2)";
        components.add_security_scheme("user_token", bearer(of_user));
        let of_marketplace = "the token with which the marketplace calls its webhook";
        components.add_security_scheme("marketplace_token", bearer(of_marketplace));
        components.add_security_scheme("caller_key", bearer("a caller key: ent_…"));
    }
}

/// The description as JSON.
pub fn openapi() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());
    &TEXT
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
pub(super) async fn document() -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (head, openapi()).into_response()
}
