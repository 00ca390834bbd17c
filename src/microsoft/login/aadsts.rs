//! What the token endpoint's error codes mean, and what to do about each.

use serde_json::Value;

use crate::domain::TenantId;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::limits::throttled;
use crate::microsoft::pace::retry_after;

/// One row: the code, what it asks of us, and the sentence people read.
///
/// Source: graph-licensing.md section 10.4; marketplace-saas.md section 2.2.
#[rustfmt::skip]
const CODES: &[(u32, ErrorKind, &str)] = &[
    (65001, ErrorKind::Consent, "the tenant has not consented to our app: send its administrator the consent link (`entitled tenants consent-url`)"),
    (65004, ErrorKind::Consent, "the tenant declined our app: ask its administrator to consent (`entitled tenants consent-url`)"),
    (700_016, ErrorKind::Consent, "our app is not known in the tenant: its administrator has not consented or has removed it; send the consent link (`entitled tenants consent-url`)"),
    (7_000_112, ErrorKind::Consent, "our app is disabled in the tenant: ask its administrator to enable the enterprise application"),
    (7_000_229, ErrorKind::Consent, "our app has no service principal in the tenant: open it once under Enterprise applications in the Entra portal, or let an administrator consent"),
    (90_094, ErrorKind::Consent, "the tenant wants an administrator's consent: send the consent link (`entitled tenants consent-url`)"),
    (90_095, ErrorKind::Consent, "the tenant wants an administrator's consent: send the consent link (`entitled tenants consent-url`)"),
    (90_099, ErrorKind::Consent, "our app is not authorized in the tenant: send its administrator the consent link (`entitled tenants consent-url`)"),
    (500_011, ErrorKind::Consent, "the API we ask for has no service principal in the tenant (for the marketplace: `az ad sp create --id 20e940b3-4c77-4b0b-9a53-9e16a1b010a7` in the publisher's tenant)"),
    (90_002, ErrorKind::Consent, "the tenant does not exist, or lives in another cloud: check its id"),
    (530_032, ErrorKind::Consent, "a security policy of the tenant blocks our app: ask its administrator"),
    (53_003, ErrorKind::Consent, "the tenant's Conditional Access blocks our app: ask its administrator"),
    (90_038, ErrorKind::National, "the tenant lives in a national or government cloud, where only channel direct speaks"),
    (900_382, ErrorKind::National, "the tenant lives in a national or government cloud, where only channel direct speaks"),
    (900_432, ErrorKind::National, "the tenant lives in a national or government cloud, where only channel direct speaks"),
    (7_000_215, ErrorKind::Credential, "the client secret is wrong: the secret's id was probably pasted instead of its value; put the value into [identity] secret_file and restart entitled"),
    (7_000_222, ErrorKind::Credential, "the client secret has expired: make a new one in the Entra portal (App registrations, Certificates & secrets) put its value into [identity] secret_file and restart entitled"),
    (7_000_218, ErrorKind::Credential, "no client secret or assertion was sent: check [identity] credential"),
    (700_027, ErrorKind::Credential, "the certificate is not registered with our app: upload its public part in the Entra portal (App registrations, Certificates & secrets)"),
    (700_024, ErrorKind::Credential, "the client assertion is outside its time: check this machine's clock"),
    (700_211, ErrorKind::Credential, "no federated credential of our app matches the assertion's issuer: check it in the Entra portal (App registrations, Federated credentials)"),
    (700_213, ErrorKind::Credential, "no federated credential of our app matches the assertion's subject: check it in the Entra portal (App registrations, Federated credentials)"),
    (700_236, ErrorKind::Credential, "the federated credential may not be used across tenants: the managed identity must live in the tenant of the app registration"),
    (70_011, ErrorKind::Credential, "the scope is wrong: check [microsoft] graph"),
    (700_022, ErrorKind::Credential, "the scope names two resources: check [microsoft] graph"),
    (9_001_023, ErrorKind::Credential, "a token was asked of /common: use the tenant's id"),
    (50_034, ErrorKind::Credential, "the account is not in the tenant: check [identity]"),
    (90_006, ErrorKind::Transient, "Entra had a bad moment"),
    (90_012, ErrorKind::Transient, "Entra was too slow"),
    (90_024, ErrorKind::Transient, "Entra had a bad moment"),
    (90_033, ErrorKind::Transient, "Entra is not available for the moment"),
    (90_090, ErrorKind::Transient, "Entra had a bad moment"),
    (90_055, ErrorKind::Throttled, "Entra throttles the tenant"),
];

/// Codes that say that the tenant gave our app nothing. The other codes of a tenant's say that it
/// keeps our app out, whatever it gave.
const NOTHING_GIVEN: [u32; 7] = [65001, 65004, 700_016, 7_000_229, 90_094, 90_095, 90_099];

/// Codes that speak of our app's credential alone: they would come for every tenant. Those that
/// speak of a scope or of an account may come for one resource or tenant only.
const OUR_CREDENTIAL: [u32; 8] =
    [7_000_215, 7_000_222, 7_000_218, 700_027, 700_024, 700_211, 700_213, 700_236];

/// In our own tenant there is nobody to ask for consent: the ids in the configuration are wrong.
#[rustfmt::skip]
const AT_HOME: &[(u32, &str)] = &[
    (700_016, "our app is not known in the publisher's own tenant: check [identity] client_id and [publisher] tenant"),
    (90_002, "the publisher's tenant does not exist: check [publisher] tenant"),
];

/// What a refusal of the token endpoint means.
pub(super) fn refusal(
    answer: &Answer,
    tenant: TenantId,
    home: TenantId,
    now: jiff::Timestamp,
) -> MicrosoftError {
    let status = answer.status.as_u16();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let code = code_of(&body);
    let asked = retry_after(&answer.headers, now);
    let row = code.and_then(|code| CODES.iter().find(|(it, _, _)| *it == code));
    let word = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let at_home = code.filter(|_| tenant == home);
    let at_home = at_home.and_then(|code| AT_HOME.iter().find(|(it, _)| *it == code));
    let says = |what: &str| match code {
        Some(code) => format!("no token for tenant {tenant}: {what} (AADSTS{code})"),
        None => format!("no token for tenant {tenant}: {what}"),
    };
    let error = match (at_home, row) {
        (Some((_, what)), _) => MicrosoftError::new(ErrorKind::Credential, says(what)),
        (None, Some((_, kind, what))) => MicrosoftError::new(*kind, says(what)).asking(asked),
        (None, None) if status == 429 => throttled(asked),
        (None, None) if status >= 500 || status == 408 => {
            let what = says(&format!("Entra answers {status} with {}", answer.looks_like()));
            MicrosoftError::new(ErrorKind::Transient, what).asking(asked)
        }
        (None, None) if body.is_null() => {
            let what = says(&format!(
                "{status} with {} came instead of an answer of Entra's: check [microsoft] login \
                 and what stands between",
                answer.looks_like()
            ));
            MicrosoftError::new(ErrorKind::Unreadable, what).worth_another_try()
        }
        (None, None) => {
            let word: String =
                word.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').collect();
            // A code nobody has told us about: only what is surely ours may stop every tenant.
            let ours = ["invalid_client", "invalid_request", "invalid_scope"].contains(&&*word);
            let (kind, check) = if ours || tenant == home {
                (ErrorKind::Credential, "check [identity]")
            } else {
                (ErrorKind::Consent, "ask the tenant's administrator to consent again")
            };
            MicrosoftError::new(kind, says(&format!("Entra answers {status} `{word}`: {check}")))
        }
    };
    // Trouble with a time in it is waited for as throttling is: to try sooner is a waste.
    let error = match (error.kind(), error.asked_wait()) {
        (ErrorKind::Transient, Some(wait)) => {
            let what = format!("{error}, and asks us to wait {} s", wait.as_secs());
            MicrosoftError::new(ErrorKind::Throttled, what).asking(asked)
        }
        _ => error,
    };
    let error = match code {
        Some(code) if NOTHING_GIVEN.contains(&code) => error.nothing_given(),
        Some(code) if OUR_CREDENTIAL.contains(&code) => error.credential_refused(),
        Some(_) | None => error,
    };
    error.of_request(answer.request_id())
}

/// The first of `error_codes`, or the number after `AADSTS` in the description.
fn code_of(body: &Value) -> Option<u32> {
    let first = body.get("error_codes").and_then(|it| it.get(0));
    let number = |it: &Value| match it {
        Value::Number(number) => number.as_u64().and_then(|it| u32::try_from(it).ok()),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let told = || {
        let text = body.get("error_description")?.as_str()?;
        let digits = text.split_once("AADSTS")?.1;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end)?.parse().ok()
    };
    first.and_then(number).or_else(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use uuid::Uuid;

    /// The table of graph-licensing.md section 10.4, row by row.
    #[test]
    fn every_row_of_the_reference_has_its_class() {
        use ErrorKind::{Consent, Credential, National, Throttled, Transient};
        let rows: [(&[u32], ErrorKind); 10] = [
            (&[65001, 65004, 700_016, 7_000_112], Consent),
            (&[90_094, 90_095, 90_099, 500_011], Consent),
            (&[7_000_215, 7_000_222, 7_000_218], Credential),
            (&[700_027, 700_024, 70_011, 700_022], Credential),
            (&[90_002], Consent),
            (&[90_038, 900_382, 900_432], National),
            (&[9_001_023, 50_034], Credential),
            (&[530_032, 53_003], Consent),
            (&[90_006, 90_012, 90_024, 90_033, 90_090], Transient),
            (&[90_055], Throttled),
        ];
        let (tenant, home) = (Uuid::from_u128(2), Uuid::from_u128(1));
        let [tenant, home] = [tenant, home].map(|it| TenantId::from_uuid(it).unwrap());
        for (code, kind) in
            rows.iter().flat_map(|(codes, kind)| codes.iter().map(move |it| (*it, *kind)))
        {
            let body = format!(r#"{{"error":"x","error_codes":[{code}]}}"#).into_bytes();
            let answer =
                Answer { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), body };
            let error = refusal(&answer, tenant, home, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(error.kind(), kind, "{code}");
            // Only what the customer's administrator can mend by consenting says that all is missing.
            let nothing = NOTHING_GIVEN.contains(&code);
            assert_eq!(error.is_nothing_given(), nothing, "{code}");
            assert!(!nothing || kind == Consent, "{code}");
            assert!(!error.is_credential_refused() || kind == Credential, "{code}");
        }
    }

    #[test]
    fn each_code_says_whose_turn_it_is() {
        let tenant = |n| TenantId::from_uuid(Uuid::from_u128(n)).unwrap();
        let check = |status: u16, body: &str, at_home: bool, kind: ErrorKind, words: &str| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: body.as_bytes().to_vec(),
            };
            let of = if at_home { tenant(1) } else { tenant(2) };
            let error = refusal(&answer, of, tenant(1), jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(error.kind(), kind, "{body}");
            assert!(error.to_string().contains(words), "{error}");
        };
        let coded = |code: u32| {
            format!(
                r#"{{"error":"invalid_client","error_description":"AADSTS{code}: x","error_codes":[{code}]}}"#
            )
        };
        check(401, &coded(7_000_215), false, ErrorKind::Credential, "secret's id was probably");
        check(401, &coded(7_000_222), false, ErrorKind::Credential, "make a new one");
        check(400, &coded(700_016), false, ErrorKind::Consent, "consent-url");
        check(400, &coded(700_016), true, ErrorKind::Credential, "[identity] client_id");
        check(400, &coded(90_002), true, ErrorKind::Credential, "[publisher] tenant");
        check(400, &coded(90_002), false, ErrorKind::Consent, "another cloud");
        check(400, &coded(900_432), false, ErrorKind::National, "national");
        check(400, &coded(90_033), false, ErrorKind::Transient, "Entra");
        check(400, &coded(90_055), false, ErrorKind::Throttled, "throttles");
        let told = r#"{"error":"x","error_description":"AADSTS65001: no codes here"}"#;
        check(400, told, false, ErrorKind::Consent, "AADSTS65001");
        let unknown = r#"{"error":"invalid_request","error_description":"mia@customer.example"}"#;
        check(400, unknown, false, ErrorKind::Credential, "`invalid_request`");
        let unknown = r#"{"error":"access_denied","error_codes":[1234567]}"#;
        check(400, unknown, false, ErrorKind::Consent, "AADSTS1234567");
        check(400, unknown, true, ErrorKind::Credential, "AADSTS1234567");
        check(503, "<html>", false, ErrorKind::Transient, "HTML");
        check(429, "", false, ErrorKind::Throttled, "throttles");
        check(403, "<html>blocked by proxy", false, ErrorKind::Unreadable, "[microsoft] login");
    }
}
