//! Entra's public keys, as one document.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::DATE;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::error::{ErrorKind, MicrosoftError};
use super::http::{ANSWER_BYTES_MAX, Answer, Http, Outgoing};
use super::json;
use super::link::Base;
use super::meter::Meter;
use super::pace::{Pace, retry_after};
use crate::domain::TenantId;

/// How many keys one authority may have.
///
/// Source: reliability.md section 4.2 (9).
const KEYS_MAX: usize = 1_000;
/// How long one place may take to answer, for the others to have their turn.
const PLACE_MAX: Duration = Duration::from_secs(5);
/// How long the keys of the first version are waited for, beside those of the second.
const V1_MAX: Duration = Duration::from_secs(3);
const METADATA: &str = "GET /.well-known/openid-configuration";
const KEYS: &str = "GET /discovery/keys";

/// Where Entra's signing keys come from.
pub struct EntraKeySource {
    base: Base,
    authority: String,
    home: TenantId,
    http: Http,
    pace: Pace,
}

impl EntraKeySource {
    pub(super) fn new(login: url::Url, home: TenantId, http: Http, pace: Pace) -> Self {
        let authority = login.as_str().trim_end_matches('/').to_owned();
        Self { base: Base::new(login, &["/"]), authority, home, http, pace }
    }

    /// All keys that sign tokens of either version, as one JSON Web Key Set with a member
    /// `authority`: the `login` they were read from.
    ///
    /// A key of the second version says whose tokens it may sign (`issuer`); where both versions
    /// list a key, that one is taken. The first version's are taken if they come in time: as a rule
    /// both lists hold the same keys.
    ///
    /// Each place is asked once: who asks has a schedule of his own.
    ///
    /// # Errors
    ///
    /// What went wrong at the last of the places where keys of the second version are found.
    ///
    /// Source: reliability.md section 4.2 (2), (4) and (9).
    pub async fn fetch(&self) -> Result<Vec<u8>, MicrosoftError> {
        let meter = Meter::new();
        let home = self.home;
        let v2 = [
            ("/common/v2.0/.well-known/openid-configuration".to_owned(), true),
            (format!("/{home}/v2.0/.well-known/openid-configuration"), true),
            ("/common/discovery/v2.0/keys".to_owned(), false),
        ];
        let v1 = [
            ("/common/.well-known/openid-configuration".to_owned(), true),
            ("/common/discovery/keys".to_owned(), false),
        ];
        // Both at once: what one lacks must not cost the other its time.
        let (v1, v2) =
            tokio::join!(timeout(V1_MAX, self.first_of(&meter, &v1)), self.first_of(&meter, &v2),);
        let late = || MicrosoftError::new(ErrorKind::Transient, "they take too long");
        let v1 = v1.unwrap_or_else(|_elapsed| Err(late()));
        // The second version's entries, which name the issuer, replace the first's.
        let mut keys = v1.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(
                error,
                "Entra's keys of version 1 cannot be read, those of version 2 will do"
            );
            BTreeMap::new()
        });
        keys.extend(v2?);
        let keys: Vec<Value> = keys.into_values().collect();
        let merged = json!({ "authority": self.authority, "keys": keys });
        Ok(merged.to_string().into_bytes())
    }

    /// What time it is at Entra's, to the second; `None` if its answer does not say.
    ///
    /// # Errors
    ///
    /// Entra cannot be reached, or something else answers in its place.
    pub async fn their_time(&self) -> Result<Option<Timestamp>, MicrosoftError> {
        let path = "/common/v2.0/.well-known/openid-configuration";
        let outgoing = Outgoing::get(self.base.url(path)?);
        let answer = self.http.send(METADATA, &Meter::new(), outgoing).await?;
        self.judge(METADATA, &answer)?;
        let date = answer.headers.get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|it| rfc2822::parse(it).ok());
        Ok(date.map(|it| it.timestamp()))
    }

    /// The keys at the first of these places that has any; the flag says that a place holds the
    /// metadata which says where they are.
    async fn first_of(
        &self,
        meter: &Meter,
        places: &[(String, bool)],
    ) -> Result<BTreeMap<String, Value>, MicrosoftError> {
        let mut last = None;
        for (path, is_metadata) in places {
            let found = async {
                let path = match is_metadata {
                    true => self.jwks_path(meter, path).await?,
                    false => path.clone(),
                };
                keys_of(&self.read(meter, KEYS, &path).await?)
            };
            match found.await {
                Ok(keys) => return Ok(keys),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| unusable("there is no place to look for them")))
    }

    /// Path and query of the `jwks_uri`; its host is ours to say.
    async fn jwks_path(&self, meter: &Meter, path: &str) -> Result<String, MicrosoftError> {
        let metadata = self.read(meter, METADATA, path).await?;
        let address = json::word(&metadata, "jwks_uri").unwrap_or_default();
        let target = self.base.target(address)?;
        let keys = target.split('?').next().is_some_and(|it| it.ends_with("/keys"));
        if keys { Ok(target) } else { Err(unusable("their address is no list of keys")) }
    }

    async fn read(
        &self,
        meter: &Meter,
        endpoint: &'static str,
        path: &str,
    ) -> Result<Value, MicrosoftError> {
        let outgoing = Outgoing::get(self.base.url(path)?);
        let answer =
            self.http.send_within(endpoint, meter, outgoing, (ANSWER_BYTES_MAX, PLACE_MAX));
        self.judge(endpoint, &answer.await?)
    }

    fn judge(&self, endpoint: &str, answer: &Answer) -> Result<Value, MicrosoftError> {
        let status = answer.status.as_u16();
        let asked = retry_after(&answer.headers, self.pace.now());
        match status {
            200..=299 => json::body(endpoint, answer),
            429 => Err(super::limits::throttled(asked)),
            408 | 500..=599 => {
                let what =
                    format!("Entra ({endpoint}) answers {status} with {}", answer.looks_like());
                Err(MicrosoftError::new(ErrorKind::Transient, what))
            }
            _ => {
                let what = format!("Entra ({endpoint}) answers {status}: check [microsoft] login");
                Err(MicrosoftError::new(ErrorKind::Unreadable, what))
            }
        }
    }
}

/// The keys by id; what is no key is left out.
fn keys_of(set: &Value) -> Result<BTreeMap<String, Value>, MicrosoftError> {
    let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if keys.len() > KEYS_MAX {
        return Err(unusable("there are too many of them"));
    }
    let one = |key: &Value| {
        let key: &Map<String, Value> = key.as_object()?;
        let id = key.get("kid")?.as_str().filter(|it| !it.is_empty())?;
        Some((id.to_owned(), Value::Object(key.clone())))
    };
    let keys: BTreeMap<String, Value> = keys.iter().filter_map(one).collect();
    if keys.is_empty() { Err(unusable("the list holds none")) } else { Ok(keys) }
}

fn unusable(why: &str) -> MicrosoftError {
    MicrosoftError::new(ErrorKind::Unreadable, format!("Entra's keys cannot be read: {why}"))
}
