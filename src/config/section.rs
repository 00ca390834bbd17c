//! How a section reads its keys: every value it asks for is noted with its origin, every problem
//! with its key, and what it never asks for is unknown.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::environment;
use super::report::{Places, Report, without_numbers};
use super::tree::{Node, Table, Value};
use super::value::Readable;
use super::{Finding, Origin, Setting};

/// The keys of one table that nobody has read yet.
#[derive(Debug)]
pub(super) struct Section<'r> {
    report: &'r mut Report,
    path: String,
    table: Table,
}

impl Section<'_> {
    /// Reads the whole file.
    pub(super) fn read_root<T>(
        table: Table,
        report: &mut Report,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut section = Section { report, path: String::new(), table };
        let it = read(&mut section);
        section.leave();
        it
    }

    /// What is left is unknown.
    fn leave(self) {
        for (key, node) in self.table {
            let key = join(&self.path, &key);
            self.report.unknown.push((key, node.origin));
        }
    }

    /// The full name of a key of this section.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Takes a key out, so that it is known.
    fn take(&mut self, key: &str) -> Option<Node> {
        self.report.keys.insert(without_numbers(&join(&self.path, key)));
        self.table.remove(key)
    }

    fn note_setting(&mut self, key: &str, value: serde_json::Value, origin: Origin) {
        let key = self.key(key);
        self.report.settings.push(Setting { key, value, origin });
    }

    /// The value, if it was set and reads.
    fn read<T: Readable>(&mut self, key: &str) -> Reading<T> {
        let Some(node) = self.take(key) else { return Reading::Absent };
        match T::read(&node) {
            Ok(it) => {
                self.note_setting(key, it.show(), node.origin);
                Reading::Is(it)
            }
            Err(message) => {
                let key = self.key(key);
                self.report.add_problem(Finding { key, origin: node.origin, message });
                Reading::Wrong
            }
        }
    }

    /// A key that need not be set.
    pub(super) fn optional<T: Readable>(&mut self, key: &str) -> Option<T> {
        match self.read(key) {
            Reading::Is(it) => Some(it),
            Reading::Wrong => None,
            Reading::Absent => {
                self.note_setting(key, serde_json::Value::Null, Origin::Default);
                None
            }
        }
    }

    /// A key that need not be set, and then is what a variable of the platform says.
    pub(super) fn or_variable(&mut self, key: &str, variable: &str) -> Option<PathBuf> {
        match self.read(key) {
            Reading::Is(it) => Some(it),
            Reading::Wrong => None,
            Reading::Absent => {
                let path = self.places().variable(variable).map(PathBuf::from);
                let origin = match path {
                    Some(_) => Origin::Environment(variable.to_owned()),
                    None => Origin::Default,
                };
                self.note_setting(
                    key,
                    path.as_ref().map_or_else(Default::default, Readable::show),
                    origin,
                );
                path
            }
        }
    }

    /// A key with a default; also the default when its value is wrong, which was reported.
    pub(super) fn or<T: Readable>(&mut self, key: &str, default: T) -> T {
        match self.read(key) {
            Reading::Is(it) => it,
            Reading::Wrong => default,
            Reading::Absent => {
                self.note_setting(key, default.show(), Origin::Default);
                default
            }
        }
    }

    /// A key that must be set; `example` is what one could write.
    pub(super) fn required<T: Readable>(&mut self, key: &str, example: &str) -> Option<T> {
        match self.read(key) {
            Reading::Is(it) => Some(it),
            Reading::Wrong => None,
            Reading::Absent => {
                let table =
                    if self.path.is_empty() { "at the top".to_owned() } else { self.header() };
                self.problem(key, format!("it is missing; write `{key} = {example}` {table}"));
                None
            }
        }
    }

    fn header(&self) -> String {
        if self.path.ends_with(']') {
            format!("under its [[{}]]", without_numbers(&self.path).replace("[]", ""))
        } else {
            format!("under [{}]", self.path)
        }
    }

    /// A duration that must not be zero.
    pub(super) fn period(&mut self, key: &str, default: SignedDuration) -> SignedDuration {
        let it = self.or(key, default);
        if it.is_zero() {
            self.problem(key, "zero makes no sense here; write a duration such as \"15m\"");
        }
        it
    }

    /// A key that is a secret, from the environment alone; in the file it is an error. `file` is
    /// the key that names a file in its place.
    pub(super) fn secret(&mut self, key: &str, file: &str) -> Option<(String, Origin)> {
        let node = self.take(key)?;
        let origin = node.covers.map_or(node.origin, Origin::Line);
        match (node.value, origin) {
            (Value::Text(it), origin @ Origin::Environment(_)) => Some((it, origin)),
            (_, origin) => {
                let message = format!(
                    "a secret is never read from the configuration file; put it alone into a file \
                     (mode 0600, or a systemd credential) and name that as `{file}`, or set {}. \
                     Replace the secret: it has stood in a plain file",
                    environment::variable(&self.key(key))
                );
                self.report.add_problem(Finding { key: join(&self.path, key), origin, message });
                None
            }
        }
    }

    /// Notes the origin of a secret that was read.
    pub(super) fn note_secret(&mut self, key: &str, origin: Origin) {
        self.note_setting(key, serde_json::Value::from("********"), origin);
    }

    /// Whether the table has this key, unread.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Makes a key known without reading it.
    pub(super) fn know(&mut self, key: &str) {
        self.report.keys.insert(without_numbers(&join(&self.path, key)));
    }

    /// A table inside; an empty one if it is not there.
    pub(super) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let path = self.key(key);
        let table = match self.table.remove(key) {
            Some(Node { value: Value::Table(it), .. }) => it,
            Some(node) => {
                let message = format!("this is {}; it must be a table: [{path}]", node.kind());
                let key = path.clone();
                self.report.add_problem(Finding { key, origin: node.origin, message });
                Table::new()
            }
            None => Table::new(),
        };
        let mut inner = Section { report: &mut *self.report, path, table };
        let it = read(&mut inner);
        inner.leave();
        it
    }

    /// A list of tables inside; what reads as `None` was reported and is left out.
    pub(super) fn sections<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Vec<T> {
        let path = self.key(key);
        let Some(node) = self.take(key) else { return Vec::new() };
        let mut list = Vec::new();
        let wrong = |origin, kind| {
            let message = format!("this is {kind}; it must be tables: [[{}]]", strip(&path));
            Finding { key: path.clone(), origin, message }
        };
        let Value::List(nodes) = node.value else {
            self.report.add_problem(wrong(node.origin.clone(), node.kind()));
            return list;
        };
        for (at, node) in nodes.into_iter().enumerate() {
            let kind = node.kind();
            let Value::Table(table) = node.value else {
                self.report.add_problem(wrong(node.origin, kind));
                continue;
            };
            let path = format!("{path}[{at}]");
            let mut inner = Section { report: &mut *self.report, path, table };
            list.extend(read(&mut inner));
            inner.leave();
        }
        list
    }

    /// Where things outside the file are found.
    pub(super) fn places(&self) -> &Places {
        self.report.places()
    }

    /// Whether somebody set this key, which was read already.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.report.is_set(&self.key(key))
    }

    /// Whether the operator set this key, which was read already, and not the platform.
    pub(super) fn is_set_by_hand(&self, key: &str) -> bool {
        let key = self.key(key);
        let by_hand = |it: &&Setting| match &it.origin {
            Origin::Environment(name) => *name == environment::variable(&key),
            Origin::Line(_) | Origin::SecretFile(_) => true,
            Origin::Default => false,
        };
        self.report.settings.iter().filter(|it| it.key == key).any(|it| by_hand(&it))
    }

    /// Whether a problem of this key was reported.
    pub(super) fn has_problem(&self, key: &str) -> bool {
        let key = self.key(key);
        self.report.problems.iter().any(|it| it.key == key)
    }

    /// Something is wrong with a key of this section.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let key = self.key(key);
        self.report.problem(&key, message);
    }

    /// A key of this section is allowed and probably not meant.
    pub(super) fn warning(&mut self, key: &str, message: impl Into<String>) {
        let key = self.key(key);
        self.report.warning(&key, message);
    }
}

enum Reading<T> {
    Is(T),
    Wrong,
    Absent,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn strip(path: &str) -> String {
    without_numbers(path).replace("[]", "")
}
