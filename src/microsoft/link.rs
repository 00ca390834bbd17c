//! Links out of Microsoft's answers: only path and query are taken from them, only inside the API
//! they came from, and they are followed on the host configured for it.

use std::hash::{DefaultHasher, Hash, Hasher};

use url::Url;

use super::error::{ErrorKind, MicrosoftError};
use crate::planted::{Mistake, planted};

/// How many pages one sequence may have.
///
/// Source: reliability.md section 4.1.
pub const PAGES_MAX: usize = 10_000;

/// A checked link to the next page: path and query inside one API, never a host.
///
/// Invariant: the pages that led here are remembered, so a sequence that bites its own tail ends
/// as an error.
#[derive(Clone, Debug)]
pub struct Link {
    target: String,
    trail: imbl::HashSet<u64>,
    minimal: bool,
}

impl Link {
    /// Path and query, such as `/v1.0/users?$skiptoken=…`, as Microsoft encoded them.
    pub fn as_str(&self) -> &str {
        &self.target
    }

    /// Whether the sequence began with `Prefer: return=minimal`, which each of its requests must
    /// then repeat: headers are not in the link.
    pub(crate) fn is_minimal(&self) -> bool {
        self.minimal
    }

    /// The link a page of this sequence ended with.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreadable`] when it was followed before, or when it is one too many.
    pub(crate) fn after(
        before: Option<&Self>,
        target: String,
        minimal: bool,
    ) -> Result<Self, MicrosoftError> {
        let mut trail = before.map(|it| it.trail.clone()).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        let wrong = |what: String| Err(MicrosoftError::new(ErrorKind::Unreadable, what));
        if trail.insert(hasher.finish()).is_some() {
            return wrong("the pages of a list lead back to one that was read before".into());
        }
        if trail.len() > PAGES_MAX {
            return wrong(format!("a list has more than {PAGES_MAX} pages"));
        }
        Ok(Self { target, trail, minimal })
    }
}

/// One API: the host it is configured on and the paths that belong to it.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    url: Url,
    inside: &'static [&'static str],
}

/// Why a link was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadLink {
    /// It is no address at all.
    NoAddress,
    /// It leads elsewhere.
    Outside(&'static str),
}

impl From<BadLink> for MicrosoftError {
    fn from(bad: BadLink) -> Self {
        let why = match bad {
            BadLink::NoAddress => "it is no address",
            BadLink::Outside(why) => why,
        };
        Self::new(
            ErrorKind::Refused,
            format!("a link in Microsoft's answer was not followed: {why}"),
        )
    }
}

impl Base {
    /// The API on this host; `inside` are the prefixes of its paths, each with `/` at both ends.
    pub(crate) fn new(mut url: Url, inside: &'static [&'static str]) -> Self {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        Self { url, inside }
    }

    /// Where the path of the configured address ends; empty for a bare host.
    fn prefix(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Path and query of a link, checked.
    ///
    /// Lenient where Microsoft is sloppy: a documented sample begins with `https:// https://`.
    /// The host is not looked at, for recorded links name another one; a configured address with
    /// a path of its own (the sandbox) may or may not come back in the link.
    ///
    /// Source: contract, promise 7; marketplace-saas.md section 6.3.
    pub(crate) fn target(&self, link: &str) -> Result<String, BadLink> {
        let link = link.trim();
        if planted(Mistake::FollowForeignLink) {
            return Ok(link.to_owned());
        }
        if link.chars().any(char::is_control) {
            return Err(BadLink::Outside("it holds control characters"));
        }
        let link = link.split('#').next().unwrap_or_default();
        let (head, query) = match link.split_once('?') {
            Some((head, query)) => (head, Some(query)),
            None => (link, None),
        };
        let path = path_of(head)?;
        let path = self.own_path(path)?;
        Ok(match query {
            // A server that adds its page token to the query as it understood it: the spaces of a
            // filter stand in it as they are.
            Some(query) => format!("{path}?{}", query.replace(' ', "%20")),
            None => path.to_owned(),
        })
    }

    /// The path without the configured prefix, when it lies inside the API.
    fn own_path<'a>(&self, path: &'a str) -> Result<&'a str, BadLink> {
        let lower = path.to_ascii_lowercase();
        let odd = ["//", "\\", "%2f", "%5c", "%00", " "];
        if odd.iter().any(|it| lower.contains(it)) {
            return Err(BadLink::Outside("its path is not plain"));
        }
        let dots = |it: &str| matches!(it.replace("%2e", ".").as_str(), "." | "..");
        if lower.split('/').any(dots) {
            return Err(BadLink::Outside("its path climbs"));
        }
        let inside = |path: &str| self.inside.iter().any(|it| path.starts_with(it));
        let own = path.strip_prefix(self.prefix()).filter(|it| inside(it));
        own.or_else(|| inside(path).then_some(path))
            .ok_or(BadLink::Outside("it leads out of the API it came from"))
    }

    /// The address of a checked target on the configured host. The query goes through as it is:
    /// re-encoding one kills page tokens.
    ///
    /// Source: graph-licensing.md section 9 and trap 18.9.
    pub(crate) fn url(&self, target: &str) -> Result<Url, MicrosoftError> {
        if planted(Mistake::FollowForeignLink)
            && let Ok(url) = Url::parse(target)
        {
            return Ok(url);
        }
        let text = format!("{}{target}", self.url.as_str().trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|_bad| MicrosoftError::from(BadLink::NoAddress))?;
        if url.origin() == self.url.origin() { Ok(url) } else { Err(BadLink::NoAddress.into()) }
    }

    /// An address below the configured one; for paths we write ourselves.
    pub(crate) fn join(&self, path: &str) -> Result<Url, MicrosoftError> {
        self.url(path)
    }
}

/// The path in an address without its query: after the last `scheme://authority`, or the whole of
/// a relative one.
fn path_of(head: &str) -> Result<&str, BadLink> {
    let Some((scheme, rest)) = head.rsplit_once("://") else {
        let relative = head.starts_with('/') && !head.starts_with("//");
        return if relative { Ok(head) } else { Err(BadLink::NoAddress) };
    };
    let scheme = scheme.rsplit([' ', '/']).next().unwrap_or_default();
    if !["http", "https"].iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
        return Err(BadLink::Outside("it is no web address"));
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if authority.is_empty() || authority.contains(['@', '\\', ' ']) {
        return Err(BadLink::Outside("its host is not plain"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{Chance, prove};

    const SAAS: &[&str] = &["/api/saas/"];

    fn base(url: &str) -> Base {
        Base::new(url.parse().unwrap(), SAAS)
    }

    #[test]
    fn only_path_and_query_inside_the_api_are_taken() {
        let check = |link: &str, target: Option<&str>| {
            let got = base("https://marketplaceapi.microsoft.com").target(link);
            assert_eq!(got.as_deref().ok(), target, "{link}: {got:?}");
        };
        let plain = "/api/saas/subscriptions?continuationToken=%5b%7b%22";
        check(&format!("https://main.prod.marketplaceapi.azure.com{plain}"), Some(plain));
        check(&format!("https:// https://marketplaceapi.microsoft.com{plain}"), Some(plain));
        check(&format!("HTTPS://evil.example:8443{plain}#x"), Some(plain));
        check(plain, Some(plain));
        check("https://marketplaceapi.microsoft.com/api/other?x=1", None);
        check("https://marketplaceapi.microsoft.com/api/saas/../admin", None);
        check("https://marketplaceapi.microsoft.com/api/saas/%2e%2E/admin", None);
        check("https://marketplaceapi.microsoft.com/api/saas/..%2fadmin", None);
        check("https://marketplaceapi.microsoft.com//evil.example/api/saas/x", None);
        check("https://user@evil.example/api/saas/x", None);
        check("https://evil.example\\@good.example/api/saas/x", None);
        check("file:///api/saas/x", None);
        check("//evil.example/api/saas/x", None);
        check("javascript:alert(1)", None);
        check(
            "https://h/api/saas/x?a=any(x:x/y eq 1)&t=%3d",
            Some("/api/saas/x?a=any(x:x/y%20eq%201)&t=%3d"),
        );
        check("https://h/api/saas/x y?a=b", None);
        check("", None);
    }

    /// Promise 7, whatever a link says.
    #[test]
    fn no_link_leads_to_another_host_and_one_who_follows_it_there_is_found_out() {
        let ours = ["https://marketplaceapi.microsoft.com", "http://127.0.0.1:9/marketplace"];
        prove(Mistake::FollowForeignLink, |chance: &mut Chance| {
            let mut one = |of: &[&str]| of[chance.below(of.len())].to_owned();
            let base = base(&one(&ours));
            let scheme = one(&["https://", "http://", "HTTPS://", "https:// https://", "//", ""]);
            let host = one(&["evil.example", "marketplaceapi.microsoft.com", "127.0.0.1:8", "a@b"]);
            let prefix = one(&["", "/marketplace", "/x/..", "//evil.example", "/%2e%2e"]);
            let rest = one(&["/api/saas/s?t=1", "/api/saas/s?u=https://evil.example/", "/steal"]);
            let link = format!("{scheme}{host}{prefix}{rest}");
            let Ok(target) = base.target(&link) else { return Ok(()) };
            let Ok(url) = base.url(&target) else { return Ok(()) };
            let inside = url.path().starts_with(base.prefix()) && url.path().contains("/api/saas/");
            let same = url.origin() == base.url.origin() && inside;
            if same { Ok(()) } else { Err(format!("{link} leads to {url}")) }
        });
    }

    #[test]
    fn a_configured_path_may_or_may_not_come_back_in_the_link() {
        let base = base("http://127.0.0.1:9/marketplace/");
        for link in ["http://other/marketplace/api/saas/x?y=1", "http://other/api/saas/x?y=1"] {
            let target = base.target(link).unwrap();
            assert_eq!(target, "/api/saas/x?y=1");
            let url = base.url(&target).unwrap();
            assert_eq!(url.as_str(), "http://127.0.0.1:9/marketplace/api/saas/x?y=1");
        }
    }

    #[test]
    fn the_querys_encoding_is_kept() {
        let target = "/api/saas/x?t=%5b%7B%22a%22:%20null,~+%2b*'()";
        let url = base("https://h.example").url(target).unwrap();
        assert_eq!(url.query().unwrap(), "t=%5b%7B%22a%22:%20null,~+%2b*%27()");
    }

    #[test]
    fn pages_that_lead_in_a_circle_end() {
        let one = Link::after(None, "/a".into(), false).unwrap();
        let two = Link::after(Some(&one), "/b".into(), false).unwrap();
        let again = Link::after(Some(&two), "/a".into(), false).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Unreadable);
    }
}
