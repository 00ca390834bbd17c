//! `[[notify]]`: the publisher's own systems that are told what happens.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::secret::{self, Secret};
use super::section::Section;
use crate::domain::NoticeWish;

/// One of the publisher's own systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyEndpoint {
    /// How it is called in logs, commands and metrics.
    pub name: String,
    /// Where events are sent to.
    pub url: Url,
    /// Which events it wants; never empty.
    pub types: Vec<NoticeWish>,
    /// What events are signed with: one secret, or two while one takes the other's place.
    pub secrets: Vec<Secret>,
}

/// What a secret begins with.
///
/// Source: Standard Webhooks 1.0.0, "signature scheme".
const PREFIX: &str = "whsec_";

/// How many bytes a secret has.
///
/// Source: as above: "between 24 bytes (192 bits) and 64 bytes (512 bits)".
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// More endpoints than these are no fan-out but a mistake: each keeps events of its own.
const MOST: usize = 16;

/// The longest name.
const NAME_MAX: usize = 64;

pub(super) fn read(root: &mut Section<'_>) -> Vec<NotifyEndpoint> {
    let mut names = BTreeSet::new();
    let found = root.sections("notify", |it| {
        let name: Option<String> = it.required("name", "\"billing\"");
        let url: Option<Url> = it.required("url", "\"https://hooks.example/entitled\"");
        let types: Vec<NoticeWish> = it.or("types", NoticeWish::everything());
        if it.is_set("types") && types.is_empty() {
            it.problem("types", "an empty list tells it nothing; leave it out for all events");
        }
        let secret = signing_secret(it, ("secret", "secret_file"));
        if secret.is_none() && secret::is_missing(it, "secret", "secret_file") {
            let variable = super::environment::variable(&it.key("secret"));
            it.problem(
                "secret_file",
                format!("it is missing; write `secret_file = \"billing.whsec\"` under its [[notify]], or set {variable}"),
            );
        }
        let second = signing_secret(it, ("second_secret", "second_secret_file"));
        let (name, url, secret) = (name?, url?, secret?);
        let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        if name.len() > NAME_MAX || !name.bytes().all(plain) {
            it.problem("name", "a name is up to 64 letters, digits, `-` and `_`");
        }
        if !names.insert(name.clone()) {
            it.problem("name", format!("there is another endpoint `{name}`; names must differ"));
        }
        if second.as_ref() == Some(&secret) {
            it.problem("second_secret", "it is the same as the first; make a new one, or leave it out");
        }
        let secrets = [secret].into_iter().chain(second).collect();
        Some(NotifyEndpoint { name, url, types, secrets })
    });
    if found.len() > MOST {
        root.problem("notify", format!("{} endpoints; {MOST} are the most", found.len()));
    }
    found
}

fn signing_secret(it: &mut Section<'_>, (name, file): (&str, &str)) -> Option<Secret> {
    let found = secret::read(it, name, file)?;
    let bytes = found.expose().strip_prefix(PREFIX).and_then(|it| STANDARD.decode(it).ok());
    if bytes.is_none_or(|it| !BYTES.contains(&it.len())) {
        it.problem(
            name,
            "a secret is one line: whsec_ and 24 to 64 random bytes in base64; make one with \
             `echo whsec_$(openssl rand -base64 32)`",
        );
        return None;
    }
    Some(found)
}
