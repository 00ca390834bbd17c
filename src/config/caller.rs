//! `[[caller]]`: servers that ask with a key.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::secret::{self, Secret};
use super::section::Section;

/// A server that asks with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// How it is called in logs and in the journal.
    pub name: String,
    /// `ent_` and at least 32 random bytes in base64url.
    pub key: Secret,
    /// What it may do; never empty.
    pub may: Vec<Permission>,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Ask for any tenant and user.
    Query,
    /// Issue and change licenses.
    Licenses,
    /// Report usage.
    Usage,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "query",
            Self::Licenses => "licenses",
            Self::Usage => "usage",
        })
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "query" => Ok(Self::Query),
            "licenses" => Ok(Self::Licenses),
            "usage" => Ok(Self::Usage),
            _ => Err(format!("`{text}` is no permission; known are: query, licenses, usage")),
        }
    }
}

/// What a key begins with.
const PREFIX: &str = "ent_";

/// The fewest characters after that: 32 bytes in base64url.
const SHORTEST: usize = 43;

pub(super) fn read(root: &mut Section<'_>) -> Vec<Caller> {
    let mut names = BTreeSet::new();
    let mut keys: Vec<(String, Secret)> = Vec::new();
    root.sections("caller", |it| {
        let name: Option<String> = it.required("name", "\"web-shop\"");
        let key = key(it);
        let may: Vec<Permission> = it.required("may", "[\"query\"]").unwrap_or_default();
        if it.is_set("may") && may.is_empty() {
            it.problem("may", "an empty list lets it do nothing; write [\"query\"]");
        }
        let (name, key) = (name?, key?);
        if !names.insert(name.clone()) {
            it.problem("name", format!("there is another caller `{name}`; names must differ"));
        }
        if let Some((other, _)) = keys.iter().find(|(_, it)| *it == key) {
            it.problem("key", format!("caller `{other}` has the same key; give each its own"));
        }
        keys.push((name.clone(), key.clone()));
        Some(Caller { name, key, may })
    })
}

fn key(it: &mut Section<'_>) -> Option<Secret> {
    let key = secret::read(it, "key", "key_file");
    let Some(key) = key else {
        if secret::is_missing(it, "key", "key_file") {
            let variable = super::environment::variable(&it.key("key"));
            it.problem(
                "key_file",
                format!("it is missing; write `key_file = \"/etc/entitled/web-shop.key\"` under its [[caller]], or set {variable}"),
            );
        }
        return None;
    };
    let random = key.expose().strip_prefix(PREFIX).unwrap_or_default().trim_end_matches('=');
    let word = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
    if random.len() < SHORTEST || !random.chars().all(word) {
        it.problem(
            "key",
            "a key is one line: ent_ and at least 32 random bytes in base64url; make one with \
             `echo ent_$(openssl rand 32 | basenc --base64url | tr -d =)`",
        );
        return None;
    }
    Some(key)
}
