//! Everything that was noted while reading: values, keys, what was unknown, what is wrong; and the
//! nearest key to one that does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::environment;
use super::{Config, ConfigError, Finding, Loaded, Origin, Setting};

/// Where things outside the file are found.
#[derive(Debug)]
pub(super) struct Places {
    environment: BTreeMap<String, String>,
    beside: Option<PathBuf>,
}

impl Places {
    /// These variables, and the folder of the configuration file.
    pub(super) fn new(
        environment: impl Iterator<Item = (String, String)>,
        beside: Option<PathBuf>,
    ) -> Self {
        Self { environment: environment.collect(), beside }
    }

    /// All variables.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One variable; one without text counts as not set.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|it| it.trim()).filter(|it| !it.is_empty())
    }

    /// The folder of systemd's credentials.
    pub(super) fn credentials(&self) -> Option<&Path> {
        self.variable("CREDENTIALS_DIRECTORY").map(Path::new)
    }

    /// The folder of the configuration file.
    pub(super) fn beside(&self) -> Option<&Path> {
        self.beside.as_deref()
    }
}

/// Everything that was noted while reading.
#[derive(Debug)]
pub(super) struct Report {
    places: Places,
    pub(super) settings: Vec<Setting>,
    pub(super) keys: BTreeSet<String>,
    pub(super) unknown: Vec<(String, Origin)>,
    pub(super) problems: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            settings: Vec::new(),
            keys: BTreeSet::new(),
            unknown: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn add_problem(&mut self, finding: Finding) {
        self.problems.push(finding);
    }

    /// A finding about this key, which was read already.
    pub(super) fn about(&self, key: &str, message: impl Into<String>) -> Finding {
        let setting = self.settings.iter().rfind(|it| it.key == key);
        let origin = setting.map_or(Origin::Default, |it| it.origin.clone());
        Finding { key: key.to_owned(), origin, message: message.into() }
    }

    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(self.about(key, message));
    }

    pub(super) fn warning(&mut self, key: &str, message: impl Into<String>) {
        self.warnings.push(self.about(key, message));
    }

    /// Whether somebody set this key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.settings.iter().any(|it| it.key == key && it.origin != Origin::Default)
    }

    /// Reports every key that nobody asked for, with the nearest one that exists.
    pub(super) fn name_unknown_keys(&mut self) {
        for (key, origin) in std::mem::take(&mut self.unknown) {
            let from_environment = matches!(origin, Origin::Environment(_));
            let nearest = self.nearest(&key, from_environment);
            let mut message = if from_environment {
                let nearest = environment::variable(&nearest);
                format!("there is no such variable; did you mean `{nearest}`?")
            } else {
                format!("there is no such key; did you mean `{nearest}`?")
            };
            let secret = ["secret", "password", "private_key"].iter().any(|it| key.contains(it));
            if secret && !from_environment {
                message.push_str(" Secrets never stand in this file; replace this one");
            }
            self.problems.push(Finding { key, origin, message });
        }
    }

    /// The existing key that was most likely meant: a namesake elsewhere, or one spelled alike.
    fn nearest(&self, key: &str, from_environment: bool) -> String {
        let mut known = self.keys.clone();
        if !from_environment {
            // A misspelt section is compared with sections.
            for full in &self.keys {
                let dots = full.match_indices('.').map(|(at, _)| at);
                known.extend(dots.filter_map(|at| full.get(..at).map(str::to_owned)));
            }
        }
        // One underscore too few in a variable makes another level.
        let level = |it: &str| if from_environment { it.replace('.', "_") } else { it.to_owned() };
        let parts = |it: &str| {
            let (parent, last) = it.rsplit_once('.').unwrap_or(("", it));
            (parent.to_owned(), last.to_owned())
        };
        let alike = strsim::normalized_damerau_levenshtein;
        let plain = without_numbers(key);
        let (plain_parent, plain_last) = parts(&plain);
        let score = |it: &String| {
            let (parent, last) = parts(it);
            let sibling = if parent == plain_parent && !from_environment { 0.5 } else { 0.0 };
            alike(&level(it), &level(&plain)) + alike(&last, &plain_last) + sibling
        };
        let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        best.map_or_else(String::new, |it| with_numbers(it, key))
    }

    /// The end of reading: the configuration, or all problems.
    pub(super) fn finish(
        self,
        config: Option<Config>,
        path: Option<&Path>,
    ) -> Result<Loaded, ConfigError> {
        match config {
            Some(config) if self.problems.is_empty() => Ok(Loaded {
                config,
                settings: self.settings,
                keys: self.keys.into_iter().collect(),
                warnings: self.warnings,
            }),
            Some(_) | None => Err(ConfigError::Invalid {
                path: path.map(Path::to_owned),
                problems: self.problems,
                warnings: self.warnings,
            }),
        }
    }
}

/// `product[0].id` as `product[].id`.
pub(super) fn without_numbers(key: &str) -> String {
    let mut inside = false;
    let keep = |c: &char| {
        inside = (inside || *c == '[') && *c != ']';
        !(inside && c.is_ascii_digit())
    };
    key.chars().filter(keep).collect()
}

/// `product[].id` as `product[3].id`, with the numbers of a key of the same list.
fn with_numbers(plain: &str, like: &str) -> String {
    let mut numbers = like.split('[').skip(1).filter_map(|it| it.split(']').next());
    let mut parts = plain.split("[]");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |key, part| format!("{key}[{}]{part}", numbers.next().unwrap_or("0")))
}
