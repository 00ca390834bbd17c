//! The TOML file as a tree of values that know their lines. What a value must be is decided by
//! whoever reads it ([`super::section`]).

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Origin;

/// The keys of one table.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The line of the file whose value a variable overrides.
    pub(super) covers: Option<usize>,
}

/// A value before anybody asked for its type.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// A number as it was written.
    Number(String),
    List(Vec<Node>),
    Table(Table),
    Switch(bool),
    /// A type that no key has.
    Other(&'static str),
}

impl Node {
    pub(super) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, covers: None }
    }

    /// What kind of value it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "text",
            Value::Number(_) => "a number",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Switch(_) => "true or false",
            Value::Other(kind) => kind,
        }
    }
}

/// The text is no TOML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// From 1.
    pub(super) line: usize,
    /// What the parser expected; quotes nothing.
    pub(super) message: String,
}

/// The tree of a TOML document.
pub(super) fn parse(text: &str) -> Result<Table, SyntaxError> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    let breaks: Vec<usize> = breaks.map(|(at, _)| at).collect();
    let wrong = |it: toml::de::Error| SyntaxError {
        line: line(&breaks, it.span().map_or(0, |span| span.start)),
        message: it.message().replace('\n', ", "),
    };
    Ok(table(&breaks, DeTable::parse(text).map_err(wrong)?.into_inner()))
}

fn table(breaks: &[usize], from: DeTable<'_>) -> Table {
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let at = key.span().start;
        let key = std::borrow::Cow::into_owned(key.into_inner());
        (key, node(breaks, value, at))
    };
    from.into_iter().map(entry).collect()
}

/// `at` is where its key stands: nearer to what people look for than where its value starts.
fn node(breaks: &[usize], from: Spanned<DeValue<'_>>, at: usize) -> Node {
    let element = |it: Spanned<DeValue<'_>>| {
        let at = it.span().start;
        node(breaks, it, at)
    };
    let value = match from.into_inner() {
        DeValue::String(it) => Value::Text(it.into_owned()),
        DeValue::Integer(it) => Value::Number(it.to_string()),
        DeValue::Float(it) => Value::Number(it.to_string()),
        DeValue::Boolean(it) => Value::Switch(it),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(it) => Value::List(it.into_iter().map(element).collect()),
        DeValue::Table(it) => Value::Table(table(breaks, it)),
    };
    Node::new(value, Origin::Line(line(breaks, at)))
}

/// The line, from 1, on which this byte stands; a file may name ten thousand tenants.
fn line(breaks: &[usize], at: usize) -> usize {
    breaks.partition_point(|it| *it < at).saturating_add(1)
}
