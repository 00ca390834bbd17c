//! `[store]`: where the mirror is kept.

use std::path::PathBuf;

use super::section::Section;

/// Where the mirror is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSection {
    /// Its folder, absolute; ours alone.
    pub path: PathBuf,
}

impl StoreSection {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.section("store", |it| {
            let path: PathBuf = it.or("path", PathBuf::from("/var/lib/entitled"));
            absolute(it, "path", &path);
            Self { path }
        })
    }
}

/// A relative path would mean another place wherever the daemon is started from.
pub(super) fn absolute(it: &mut Section<'_>, key: &str, path: &std::path::Path) {
    if path.is_relative() {
        it.problem(key, "write the whole path, beginning with `/`");
    }
}
