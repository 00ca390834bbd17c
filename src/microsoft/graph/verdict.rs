//! What an answer of Graph's means, by status and error code; never by its message.

use jiff::Timestamp;
use serde_json::Value;

use super::subscriptions::CREATE;
use crate::domain::TenantId;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::limits::throttled;
use crate::microsoft::login::Token;
use crate::microsoft::pace::retry_after;

/// Who asked what, for the words of an error.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) endpoint: &'static str,
    pub(super) tenant: TenantId,
    pub(super) token: &'a Token,
    /// Which link of Microsoft's the request followed.
    pub(super) linked: Linked,
}

/// What a request followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linked {
    /// Nothing: it is ours.
    No,
    /// The link to a next page.
    Page,
    /// The link to a next delta round.
    Cursor,
}

/// A subscription's addresses did not answer as they should within ten seconds. What else is wrong
/// with the request comes under other codes, such as `ExtensionError`.
///
/// Source: graph-licensing.md section 6 (400); the code as reported by users since 2024, e.g.
/// github.com/splunk/azure-functions-splunk/issues/26. The older `InvalidRequest` (2018 to 2020)
/// also stood for much else: it is taken for no word on the address.
const VALIDATION: &str = "ValidationError";

/// Nothing for a success; otherwise what it means.
///
/// Source: graph-licensing.md sections 5.6, 8, 9 and 12.
pub(super) fn refusal(
    answer: &Answer,
    asked: Asked<'_>,
    now: Timestamp,
) -> Result<(), MicrosoftError> {
    let status = answer.status.as_u16();
    if answer.status.is_success() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    // A page of HTML is a gateway's, not Graph's: nobody's consent hangs on it.
    let status = if answer.is_markup() && matches!(status, 401 | 403) { 502 } else { status };
    let error = of_status(status, &codes(&body), &answer.looks_like(), asked);
    let wait = retry_after(&answer.headers, now);
    let told_to_wait = matches!(status, 503 | 504) && wait.is_some();
    let told_to_wait = error.kind() == ErrorKind::Transient && told_to_wait;
    let throttles = error.kind() == ErrorKind::Throttled || told_to_wait;
    let error = if throttles { throttled(wait) } else { error };
    Err(error.of_request(answer.request_id()))
}

/// What a status with these codes means; also of one item of a `$batch`.
pub(super) fn of_status(
    status: u16,
    codes: &[String],
    looks_like: &str,
    asked: Asked<'_>,
) -> MicrosoftError {
    let Asked { endpoint, tenant, token, linked } = asked;
    let code = codes.first().map_or("no code", String::as_str);
    let says = |kind, what: String| {
        let what = format!("Graph ({endpoint}) of tenant {tenant} answers {status} {code}: {what}");
        MicrosoftError::new(kind, what)
    };
    let has = |wanted: &str| codes.iter().any(|it| it.eq_ignore_ascii_case(wanted));
    let resync = codes.iter().any(|it| it.to_ascii_lowercase().starts_with("resync"));
    let dead = has("Directory_ExpiredPageToken") || has("DirectoryPageTokenNotFoundException");
    let came = || format!("it came with {looks_like}");
    match status {
        400..=499 if resync || has("syncStateNotFound") => {
            says(ErrorKind::Resync, "its delta token is dead; the users are read anew".into())
        }
        410 => says(ErrorKind::Resync, "it begins its delta anew; the users are read anew".into()),
        // Its own link refused for whatever reason will be refused again: only a new one helps.
        400.. if linked == Linked::Cursor && (dead || matches!(status, 400 | 404)) => {
            says(ErrorKind::Resync, "it no longer takes its own cursor".into())
        }
        // The status of these codes is not confirmed.
        400.. if dead => says(
            ErrorKind::RestartSequence,
            "its page token is dead; the sequence begins anew".into(),
        ),
        400 | 404 if linked == Linked::Page => {
            says(ErrorKind::RestartSequence, "it no longer takes its own link".into())
        }
        400 if endpoint == CREATE.name && has(VALIDATION) => {
            let what = "it got no good answer at our address for change notifications".into();
            says(ErrorKind::Unreadable, what).address_unverified()
        }
        300..=399 => {
            says(ErrorKind::Refused, "redirects are not followed; check [microsoft]".into())
        }
        401 | 403 => says(ErrorKind::Consent, consent(tenant, token)),
        404 => says(ErrorKind::NotFound, "there is no such thing".into()),
        429 => throttled(None),
        408 | 424 | 500 | 502..=504 | 509 => says(ErrorKind::Transient, came()),
        _ => says(ErrorKind::Unreadable, came()),
    }
}

fn consent(tenant: TenantId, token: &Token) -> String {
    let missing = token.missing_roles();
    let lacks = if missing.is_empty() {
        String::new()
    } else {
        format!("the tenant did not give {}; ", missing.join(", "))
    };
    format!(
        "our app may not look; {lacks}ask the tenant's administrator to consent \
         (`entitled tenants consent-url {tenant}`)"
    )
}

/// The error's code and those nested in it: `innerError` in bodies, `innererror` in the
/// specification. An empty code is none.
pub(super) fn codes(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = body.get("error");
    // Nesting is not deep; a body that says otherwise is not worth following.
    for _ in 0..8 {
        let Some(error) = at else { break };
        let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || "_.-".contains(*c);
        let code: String = code.chars().filter(plain).take(80).collect();
        if !code.is_empty() {
            found.push(code);
        }
        at = error.get("innerError").or_else(|| error.get("innererror"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::microsoft::login::Token;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn branches_on_status_and_code() {
        let token = Token::for_tests(&["User.Read.All"]);
        let check = |status: u16, code: &str, linked: Linked, kind: ErrorKind| {
            let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
            let asked = Asked { endpoint: "GET /users", tenant, token: &token, linked };
            let codes =
                codes(&json!({ "error": { "code": code, "message": "syncStateNotFound" } }));
            assert_eq!(of_status(status, &codes, "JSON", asked).kind(), kind, "{status} {code}");
        };
        check(400, "syncStateNotFound", Linked::Page, ErrorKind::Resync);
        check(404, "SyncStateNotFound", Linked::Page, ErrorKind::Resync);
        check(400, "resyncRequired", Linked::Page, ErrorKind::Resync);
        check(410, "", Linked::Page, ErrorKind::Resync);
        check(400, "Directory_ExpiredPageToken", Linked::Page, ErrorKind::RestartSequence);
        check(404, "DirectoryPageTokenNotFoundException", Linked::Page, ErrorKind::RestartSequence);
        check(400, "Request_UnsupportedQuery", Linked::Page, ErrorKind::RestartSequence);
        check(400, "Request_UnsupportedQuery", Linked::No, ErrorKind::Unreadable);
        check(400, "Request_BadRequest", Linked::Page, ErrorKind::RestartSequence);
        check(400, "Request_BadRequest", Linked::Cursor, ErrorKind::Resync);
        check(503, "DirectoryPageTokenNotFoundException", Linked::Page, ErrorKind::RestartSequence);
        check(404, "Request_ResourceNotFound", Linked::Page, ErrorKind::RestartSequence);
        check(400, "Directory_ExpiredPageToken", Linked::Cursor, ErrorKind::Resync);
        check(404, "Request_ResourceNotFound", Linked::Cursor, ErrorKind::Resync);
        check(503, "ServiceUnavailable", Linked::Cursor, ErrorKind::Transient);
        check(401, "InvalidAuthenticationToken", Linked::No, ErrorKind::Consent);
        check(403, "Authorization_RequestDenied", Linked::No, ErrorKind::Consent);
        check(404, "Request_ResourceNotFound", Linked::No, ErrorKind::NotFound);
        check(429, "TooManyRequests", Linked::No, ErrorKind::Throttled);
        for status in [408, 424, 500, 502, 503, 504, 509] {
            check(status, "x", Linked::No, ErrorKind::Transient);
        }
        check(501, "NotImplemented", Linked::No, ErrorKind::Unreadable);
        check(302, "", Linked::No, ErrorKind::Refused);
    }

    #[test]
    fn only_a_failed_validation_of_a_new_subscription_speaks_of_our_address() {
        let token = Token::for_tests(&["User.Read.All"]);
        let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
        let check = |endpoint, status: u16, code: &str, ours: bool| {
            let asked = Asked { endpoint, tenant, token: &token, linked: Linked::No };
            let message = "Subscription validation request failed.";
            let codes = codes(&json!({ "error": { "code": code, "message": message } }));
            let error = of_status(status, &codes, "JSON", asked);
            assert_eq!(error.is_address_unverified(), ours, "{endpoint} {status} {code}");
        };
        check(CREATE.name, 400, "ValidationError", true);
        check(CREATE.name, 400, "validationError", true);
        check(CREATE.name, 400, "ExtensionError", false);
        check(CREATE.name, 400, "InvalidRequest", false);
        check(CREATE.name, 400, "Request_BadRequest", false);
        check(CREATE.name, 400, "", false);
        check(CREATE.name, 403, "ValidationError", false);
        check(CREATE.name, 503, "ValidationError", false);
        check("PATCH /subscriptions/{id}", 400, "ValidationError", false);
        check("GET /users", 400, "ValidationError", false);
    }

    #[test]
    fn codes_may_nest_under_two_spellings() {
        let nested = json!({ "error": { "code": "", "innererror": { "code": "resyncRequired",
            "innerError": { "code": "resyncChangesApplyDifferences" } } } });
        assert_eq!(codes(&nested), ["resyncRequired", "resyncChangesApplyDifferences"]);
        assert!(codes(&json!("text")).is_empty());
    }

    #[test]
    fn a_refusal_names_the_permission_that_is_missing() {
        let token = Token::for_tests(&["User.Read.All", "Organization.Read.All"]);
        let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
        let asked =
            Asked { endpoint: "GET /subscribedSkus", tenant, token: &token, linked: Linked::No };
        let error = of_status(403, &[], "JSON", asked).to_string();
        assert!(error.contains("did not give LicenseAssignment.Read.All;"), "{error}");
        assert!(!error.contains("User.Read.All,"), "{error}");
    }
}
