//! What the browser keeps for us between two steps: sealed, so that nobody can read or make it.
//!
//! A cookie and no table in memory: nobody can fill it up for others, and it lives through a
//! restart. It holds the purchase token, which so is in no address but the one that Microsoft made.

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::seal;

/// How long somebody may take to sign in.
const LEAVING_FOR: SignedDuration = SignedDuration::from_mins(30);

/// How long somebody stays signed in.
const SIGNED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The longest value of a cookie that every browser keeps, in bytes, with room for its name.
const VALUE_MAX: usize = 3_900;

/// Which purchase.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Purchase {
    /// The one of this token, which Microsoft has not been asked about.
    Token(String),
    /// This subscription: its token was resolved.
    Known(Uuid),
}

/// Who is signed in.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) tenant: Uuid,
    pub(super) user: Uuid,
    pub(super) name: Option<String>,
    pub(super) login: Option<String>,
    pub(super) email: Option<String>,
}

/// Somebody is away to sign in.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Leaving {
    pub(super) purchase: Purchase,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// Somebody is signed in.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) purchase: Purchase,
    pub(super) person: Person,
    /// What a form must bring back.
    pub(super) form: String,
    /// When this person has asked for the activation, in seconds since 1970.
    pub(super) asked: Option<i64>,
    /// What Microsoft calls the plan.
    pub(super) plan: Option<String>,
}

/// What a cookie says.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Ticket {
    Leaving(Leaving),
    Signed(Session),
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    until: i64,
    ticket: Ticket,
}

/// Seals and opens.
pub(super) struct Seal {
    cipher: seal::Seal,
    name: &'static str,
    attributes: String,
}

impl Seal {
    /// With a key made from `secret`. The cookie is sent back to addresses below `path` only, and
    /// with `secure` over TLS only. `None` if the library cannot make a key.
    pub(super) fn new(secret: &[u8; 32], path: &str, secure: bool) -> Option<Self> {
        let (name, more) = if secure {
            ("__Secure-entitled_landing", "; Secure")
        } else {
            ("entitled_landing", "")
        };
        Some(Self {
            cipher: seal::Seal::new(secret, "entitled landing cookie 1")?,
            name,
            attributes: format!("; Path={path}; HttpOnly; SameSite=Lax{more}"),
        })
    }

    /// The header that sets the cookie; `None` if it would be too large.
    pub(super) fn set(&self, ticket: &Ticket, now: Timestamp) -> Option<HeaderValue> {
        let life = match ticket {
            Ticket::Leaving(_) => LEAVING_FOR,
            Ticket::Signed(_) => SIGNED_FOR,
        };
        let until = now.as_second().saturating_add(life.as_secs());
        let sealed = Sealed { until, ticket: ticket.clone() };
        let value = self.cipher.seal(self.name, &sealed)?;
        if value.len() > VALUE_MAX {
            return None;
        }
        let (name, attributes, life_s) = (self.name, &self.attributes, life.as_secs());
        let text = format!("{name}={value}; Max-Age={life_s}{attributes}");
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// What the browser brought, unless it is too old or not ours.
    pub(super) fn open(&self, headers: &HeaderMap, now: Timestamp) -> Option<Ticket> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut pairs = all.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
        let value = pairs.find(|(name, _)| *name == self.name)?.1;
        let sealed: Sealed = self.cipher.open(self.name, value)?;
        (now.as_second() < sealed.until).then_some(sealed.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(token: &str) -> Ticket {
        Ticket::Leaving(Leaving {
            purchase: Purchase::Token(token.to_owned()),
            state: "s".into(),
            nonce: "n".into(),
            verifier: "v".into(),
        })
    }

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(cookie).unwrap())])
    }

    #[test]
    fn only_what_we_sealed_opens_and_only_for_its_time() {
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let seal = Seal::new(&[7; 32], "/marketplace/landing", true).unwrap();
        let set = seal.set(&leaving("secret-token"), now).unwrap();
        let set = set.to_str().unwrap();
        assert!(!set.contains("secret-token"));
        let [cookie, attributes] = set.split_once("; ").map(<[_; 2]>::from).unwrap();
        assert_eq!(
            attributes,
            "Max-Age=1800; Path=/marketplace/landing; HttpOnly; SameSite=Lax; Secure"
        );
        let later = |seconds| now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        assert!(seal.open(&headers(cookie), later(1_799)).is_some());
        assert!(seal.open(&headers(&format!("a=b; {cookie}; c=d")), now).is_some());
        assert!(seal.open(&headers(cookie), later(1_800)).is_none(), "it is over");
        let other = Seal::new(&[8; 32], "/marketplace/landing", true).unwrap();
        assert!(other.open(&headers(cookie), now).is_none(), "another's key");
        let plain = Seal::new(&[7; 32], "/marketplace/landing", false).unwrap();
        let renamed = cookie.replace("__Secure-", "");
        assert!(plain.open(&headers(&renamed), now).is_none(), "the name is sealed in");
        for at in [30, 60, cookie.len() - 1] {
            let mut forged = cookie.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(seal.open(&headers(&forged), now).is_none(), "byte {at}");
        }
        for cookie in ["", "x", "__Secure-entitled_landing=", "__Secure-entitled_landing=AAAA"] {
            assert!(seal.open(&headers(cookie), now).is_none(), "{cookie}");
        }
    }

    #[test]
    fn a_cookie_that_no_browser_would_keep_is_not_made() {
        let now = Timestamp::UNIX_EPOCH;
        let seal = Seal::new(&[7; 32], "/", true).unwrap();
        assert!(seal.set(&leaving(&"x".repeat(2_048)), now).is_some());
        assert!(seal.set(&leaving(&"x".repeat(4_096)), now).is_none());
    }
}
