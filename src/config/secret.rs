//! Secrets: from files or the environment, never shown.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::Origin;
use super::report::Places;
use super::section::Section;

/// A text that is never shown, logged or serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// This text; white space around it does not belong to it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(********)")
    }
}

/// No secret is longer, in bytes; certificates with their chain are the largest.
const LONGEST_BYTES: u64 = 64 * 1024;

/// Reads the secret `name` of a section: from its variable, or from the file that the key
/// `file_key` names. `None` if neither is set or something was wrong with it, which was reported.
pub(super) fn read(section: &mut Section<'_>, name: &str, file_key: &str) -> Option<Secret> {
    let variable = section.secret(name, file_key);
    let file: Option<PathBuf> = section.optional(file_key);
    if let Some((text, origin)) = variable {
        section.note_secret(name, origin);
        if text.trim().is_empty() {
            section.problem(name, "the variable is empty; set it to the secret, or unset it");
            return None;
        }
        return Some(Secret::new(&text));
    }
    let file = file?;
    match from_file(&file, section.places()) {
        Ok(Found { secret, path, open_to_all }) => {
            if open_to_all {
                // No more than a warning: container platforms mount secrets like that.
                let shown = path.display();
                let message = format!(
                    "everybody on this machine can read {shown}; run `chmod 0600 {shown}`, and \
                     replace the secret if others have had access"
                );
                section.warning(file_key, message);
            }
            section.note_secret(name, Origin::SecretFile(path));
            Some(secret)
        }
        Err(message) => {
            section.problem(file_key, message);
            None
        }
    }
}

/// Whether nobody set the secret `name`, neither by its variable nor by `file_key`, and nothing
/// was reported about it yet.
pub(super) fn is_missing(section: &Section<'_>, name: &str, file_key: &str) -> bool {
    [name, file_key].iter().all(|key| !section.is_set(key) && !section.has_problem(key))
}

/// The path that a relative name of a file means: in the folder of systemd's credentials if it is
/// there, otherwise beside the configuration file. With whether it is one of the credentials.
pub(super) fn locate(name: &Path, places: &Places) -> (PathBuf, bool) {
    if let Some(folder) = places.credentials() {
        let path = folder.join(name);
        let inside =
            path.starts_with(folder) && !name.components().any(|it| it == Component::ParentDir);
        if inside && (name.is_absolute() || path.exists()) {
            return (path, true);
        }
    }
    match places.beside() {
        Some(folder) if name.is_relative() => (folder.join(name), false),
        Some(_) | None => (name.to_owned(), false),
    }
}

/// A secret in a file.
struct Found {
    secret: Secret,
    path: PathBuf,
    /// Whether everybody on this machine can read it.
    open_to_all: bool,
}

fn from_file(name: &Path, places: &Places) -> Result<Found, String> {
    let (path, credential) = locate(name, places);
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        format!(
            "the file {shown} cannot be read ({error}); create it, or correct the path or its permissions"
        )
    };
    let about = std::fs::metadata(&path).map_err(unreadable)?;
    if !about.is_file() {
        return Err(format!("{shown} is no regular file; name a file that holds the secret alone"));
    }
    let open_to_all = !credential && about.permissions().mode() & 0o004 != 0;
    let mut text = String::new();
    let file = File::open(&path).map_err(unreadable)?;
    file.take(LONGEST_BYTES.saturating_add(1)).read_to_string(&mut text).map_err(unreadable)?;
    match text.trim() {
        "" => Err(format!("the file {shown} is empty; write the secret into it")),
        _ if u64::try_from(text.len()).is_ok_and(|it| it > LONGEST_BYTES) => {
            Err(format!("the file {shown} is too large for a secret; the most is 64 KiB"))
        }
        it => Ok(Found { secret: Secret::new(it), path, open_to_all }),
    }
}
