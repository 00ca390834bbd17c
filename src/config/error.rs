//! What reading a configuration ends in: the configuration with what is worth saying about it,
//! or every problem at once.

use std::fmt;
use std::path::PathBuf;

use super::Config;

/// A configuration without problems, and what is worth saying about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every effective value with its origin, in the order of the sections.
    pub settings: Vec<Setting>,
    /// Every key that exists, without the numbers of lists (`product[].plan[].channel`).
    pub keys: Vec<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Finding>,
}

/// One effective value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its full key, such as `sync.directory.every` or `product[0].id`.
    pub key: String,
    /// Its value; a secret is masked, an optional key without a value is null.
    pub value: serde_json::Value,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This line of the configuration file.
    Line(usize),
    /// This environment variable.
    Environment(String),
    /// This file, which holds a secret.
    SecretFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::SecretFile(path) => write!(f, "secret file {}", path.display()),
        }
    }
}

/// One thing to say about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The full key, such as `sync.directory.every`.
    pub key: String,
    /// Where its value came from; [`Origin::Default`] when nobody set it.
    pub origin: Origin,
    /// What is the matter and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(f, "{}: {}", self.key, self.message),
            origin @ (Origin::Line(_) | Origin::Environment(_) | Origin::SecretFile(_)) => {
                write!(f, "{} ({origin}): {}", self.key, self.message)
            }
        }
    }
}

/// There is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "the configuration file {} cannot be read; start from config/entitled.toml, or name \
         another file with --config",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is no TOML. The offending line is not quoted, as it may hold a secret.
    #[error("{}line {line} is no TOML: {message}", of(path.as_ref()))]
    Syntax {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// Keys or values are wrong.
    #[error("{}{}", of(path.as_ref()), list(problems))]
    Invalid {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// What is wrong; never empty.
        problems: Vec<Finding>,
        /// What is probably not meant.
        warnings: Vec<Finding>,
    },
}

fn of(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

fn list(problems: &[Finding]) -> String {
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("{} {noun}\n  {}", problems.len(), lines.join("\n  "))
}
