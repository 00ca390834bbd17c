//! What an answer of Graph's means, by status and error code; never by its message.

use jiff::Timestamp;
use serde_json::Value;

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
    /// Whether the request followed a link.
    pub(super) linked: bool,
}

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
    let came = || format!("it came with {looks_like}");
    match status {
        400..=499 if resync || has("syncStateNotFound") => {
            says(ErrorKind::Resync, "its delta token is dead; the users are read anew".into())
        }
        410 => says(ErrorKind::Resync, "it begins its delta anew; the users are read anew".into()),
        400..=499
            if has("Directory_ExpiredPageToken") || has("DirectoryPageTokenNotFoundException") =>
        {
            says(
                ErrorKind::RestartSequence,
                "its page token is dead; the sequence begins anew".into(),
            )
        }
        400 if linked && has("Request_UnsupportedQuery") => {
            says(ErrorKind::RestartSequence, "it no longer takes its own link".into())
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
        let check = |status: u16, code: &str, linked: bool, kind: ErrorKind| {
            let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
            let asked = Asked { endpoint: "GET /users", tenant, token: &token, linked };
            let codes =
                codes(&json!({ "error": { "code": code, "message": "syncStateNotFound" } }));
            assert_eq!(of_status(status, &codes, "JSON", asked).kind(), kind, "{status} {code}");
        };
        check(400, "syncStateNotFound", true, ErrorKind::Resync);
        check(404, "SyncStateNotFound", true, ErrorKind::Resync);
        check(400, "resyncRequired", true, ErrorKind::Resync);
        check(410, "", true, ErrorKind::Resync);
        check(400, "Directory_ExpiredPageToken", true, ErrorKind::RestartSequence);
        check(404, "DirectoryPageTokenNotFoundException", true, ErrorKind::RestartSequence);
        check(400, "Request_UnsupportedQuery", true, ErrorKind::RestartSequence);
        check(400, "Request_UnsupportedQuery", false, ErrorKind::Unreadable);
        check(400, "Request_BadRequest", true, ErrorKind::Unreadable);
        check(401, "InvalidAuthenticationToken", false, ErrorKind::Consent);
        check(403, "Authorization_RequestDenied", false, ErrorKind::Consent);
        check(404, "Request_ResourceNotFound", false, ErrorKind::NotFound);
        check(429, "TooManyRequests", false, ErrorKind::Throttled);
        for status in [408, 424, 500, 502, 503, 504, 509] {
            check(status, "x", false, ErrorKind::Transient);
        }
        check(501, "NotImplemented", false, ErrorKind::Unreadable);
        check(302, "", false, ErrorKind::Refused);
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
        let asked = Asked { endpoint: "GET /subscribedSkus", tenant, token: &token, linked: false };
        let error = of_status(403, &[], "JSON", asked).to_string();
        assert!(error.contains("did not give LicenseAssignment.Read.All;"), "{error}");
        assert!(!error.contains("User.Read.All,"), "{error}");
    }
}
