//! Who asks: a visual with its user's token, a server with its key, or nobody.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use super::public::Public;
use crate::config::{Caller, Permission};
use crate::sync::keys::Lookup;
use crate::tokens::{self, TokenError, User};

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// A visual: tenant and user are what its validated token says, and nothing else is.
    User(User),
    /// A server that may name any tenant and user, as far as its permissions go.
    Caller(Arc<KnownCaller>),
    /// Nobody: only a license or a package can speak.
    Nobody,
}

/// A caller of the configuration. The key itself is not kept.
#[derive(Debug)]
pub(super) struct KnownCaller {
    /// Its place in the configuration.
    pub(super) index: usize,
    /// Its name.
    pub(super) name: Arc<str>,
    /// What it may do.
    may: Vec<Permission>,
    digest: [u8; 32],
}

impl KnownCaller {
    /// Whether it may ask for decisions.
    pub(super) fn check(&self, permission: Permission) -> Result<(), Problem> {
        if self.may.contains(&permission) {
            return Ok(());
        }
        let detail = format!(
            "this key may not `{permission}`: add it to `may` of its [[caller]], or use another key"
        );
        Err(Problem::forbidden(detail))
    }
}

/// All callers of the configuration.
pub(super) struct Callers(Vec<Arc<KnownCaller>>);

impl Callers {
    pub(super) fn new(callers: &[Caller]) -> Self {
        let known = callers.iter().enumerate().map(|(index, it)| {
            Arc::new(KnownCaller {
                index,
                name: it.name.as_str().into(),
                may: it.may.clone(),
                digest: sha256(it.key.expose()),
            })
        });
        Self(known.collect())
    }

    /// The caller with this key. Takes as long for a wrong key as for a right one: digests are
    /// compared, all of them, each to its end.
    fn find(&self, key: &str) -> Option<&Arc<KnownCaller>> {
        let asked = sha256(key);
        let mut found = None;
        for caller in &self.0 {
            if bool::from(caller.digest.ct_eq(&asked)) {
                found = Some(caller);
            }
        }
        found
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

/// What every caller key begins with.
const CALLER_PREFIX: &str = "ent_";

impl Public {
    /// Who asks, by the `Authorization` header.
    ///
    /// # Errors
    ///
    /// 401 for credentials that do not hold, 429 for too many, 503 while Entra's keys were never
    /// read: then nobody can tell whether a token is good.
    pub(super) async fn who(&self, headers: &HeaderMap, ip: IpAddr) -> Result<Asker, Problem> {
        let Some(credential) = bearer(headers)? else {
            self.limiters.address(ip).map_err(|it| self.limited(it))?;
            return Ok(Asker::Nobody);
        };
        if credential.starts_with(CALLER_PREFIX) {
            return self.caller(credential, ip);
        }
        self.limiters.address(ip).map_err(|it| self.limited(it))?;
        let user = self.user(credential).await?;
        if let Some(tenant) = user.tenant {
            self.limiters.tenant(tenant).map_err(|it| self.limited(it))?;
        }
        Ok(Asker::User(user))
    }

    fn caller(&self, key: &str, ip: IpAddr) -> Result<Asker, Problem> {
        let Some(caller) = self.callers.find(key) else {
            self.limiters.wrong(ip).map_err(|it| self.limited(it))?;
            let detail = "this caller key is not known: see [[caller]] of the configuration";
            return Err(Problem::unauthorized(detail));
        };
        self.limiters.caller(caller.index).map_err(|it| self.limited(it))?;
        Ok(Asker::Caller(Arc::clone(caller)))
    }

    async fn user(&self, token: &str) -> Result<User, Problem> {
        let refused = |error: TokenError| Problem::unauthorized(error.to_string());
        let kid = tokens::key_id(token).map_err(refused)?;
        match self.entra.lookup(&kid).await {
            Lookup::Known(keys) => {
                tokens::verify_user(token, &keys, &self.rules, self.now()).map_err(refused)
            }
            Lookup::Unknown => Err(refused(TokenError::UnknownKey { kid })),
            Lookup::Unavailable => {
                let detail = "Microsoft's signing keys are not there yet: try again in a moment";
                Err(Problem::unavailable(detail).retry_after(10))
            }
        }
    }
}

/// The bearer credential, if any was sent.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let refused = |detail: &str| Problem::unauthorized(detail);
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(refused("send one Authorization header, not several"));
    }
    let text = first.to_str().map_err(|_bytes| refused("the Authorization header is no text"))?;
    match text.trim().split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(credential.trim()))
        }
        Some(_) | None => Err(refused("send `Authorization: Bearer` and a token or a caller key")),
    }
}
