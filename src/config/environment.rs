//! `ENTITLED_` variables: each overrides one key. `ENTITLED_STORE__PATH` is `store.path`, two
//! underscores for each level; an entry of a list of tables is named by its number, from 0
//! (`ENTITLED_CALLER__0__KEY`); the number after the last one adds an entry.

use super::report::Report;
use super::tree::{self, Node, Table, Value};
use super::{Finding, Origin};

/// What the variables begin with.
const PREFIX: &str = "ENTITLED_";

/// Variables that are no keys: they are read before there is a configuration ([`crate::telemetry`]).
const NO_KEYS: &[&str] = &["ENTITLED_LOG", "ENTITLED_LOG_FORMAT"];

/// The variable that overrides a key.
pub(super) fn variable(key: &str) -> String {
    let name = key.replace('[', ".").replace(']', "").replace('.', "__");
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// Writes every variable over the key that it names. A key that does not exist is written all the
/// same: like one in the file it is then reported as unknown.
pub(super) fn apply(root: &mut Table, report: &mut Report) {
    let mut overrides: Vec<(Vec<Step>, String, String)> = report
        .places()
        .environment()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NO_KEYS.contains(name))
        .map(|(name, value)| (steps(name), name.to_owned(), value.to_owned()))
        .collect();
    // In the order of their numbers, so that entries can be added one after the other.
    overrides.sort();
    for (steps, name, value) in overrides {
        let origin = Origin::Environment(name.clone());
        if let Err(message) = write(root, &steps, &value, &origin) {
            let key = name.clone();
            report.add_problem(Finding { key, origin: Origin::Default, message });
        }
    }
}

/// One level of a key. Numbers come in their own order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Number(usize),
    Name(String),
}

fn steps(name: &str) -> Vec<Step> {
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    let step = |it: &str| it.parse().map_or_else(|_name| Step::Name(it.to_owned()), Step::Number);
    key.split("__").map(step).collect()
}

fn write(into: &mut Table, steps: &[Step], value: &str, origin: &Origin) -> Result<(), String> {
    let (first, rest) = match steps {
        [Step::Name(name), rest @ ..] if !name.is_empty() => (name, rest),
        _ => return Err("this names no key; write ENTITLED_SECTION__KEY".to_owned()),
    };
    if rest.is_empty() {
        let covers = into.get(first).and_then(|it| match it.origin {
            Origin::Line(line) => Some(line),
            Origin::Default | Origin::Environment(_) | Origin::SecretFile(_) => None,
        });
        let value = Value::Text(value.to_owned());
        into.insert(first.clone(), Node { value, origin: origin.clone(), covers });
        return Ok(());
    }
    let empty = if matches!(rest, [Step::Number(_), ..]) {
        Value::List(Vec::new())
    } else {
        Value::Table(Table::new())
    };
    let node = into.entry(first.clone()).or_insert_with(|| Node::new(empty, origin.clone()));
    match (&mut node.value, rest) {
        (Value::Table(table), _) => write(table, rest, value, origin),
        (Value::List(list), [Step::Number(at), rest @ ..]) if !rest.is_empty() => {
            if *at == list.len() {
                list.push(Node::new(Value::Table(Table::new()), origin.clone()));
            }
            match list.get_mut(*at).map(|it| &mut it.value) {
                Some(Value::Table(table)) => write(table, rest, value, origin),
                Some(_) => Err(format!("entry {at} of `{first}` is a single value")),
                None => Err(format!(
                    "`{first}` has no entry {at}; entries count from 0, and the next one is {}",
                    list.len()
                )),
            }
        }
        (Value::List(_), _) => {
            Err(format!("`{first}` is a list; name an entry by its number, from 0"))
        }
        (Value::Text(_) | Value::Number(_) | Value::Switch(_) | Value::Other(_), _) => {
            Err(format!("`{first}` is a single value, nothing is below it"))
        }
    }
}

/// A list as a variable writes it: a TOML array, or values separated by commas.
pub(super) fn list(text: &str, origin: &Origin) -> Result<Vec<Node>, String> {
    let text = text.trim();
    let with_origin = |value| Node::new(value, origin.clone());
    if !text.starts_with('[') {
        let values = text.split(',').map(str::trim).filter(|it| !it.is_empty());
        return Ok(values.map(|it| with_origin(Value::Text(it.to_owned()))).collect());
    }
    let wrong = |_error| "this is no TOML array; write [\"a\", \"b\"], or a,b".to_owned();
    let mut table = tree::parse(&format!("list = {text}")).map_err(wrong)?;
    match table.remove("list").map(|it| it.value) {
        Some(Value::List(nodes)) if table.is_empty() => {
            Ok(nodes.into_iter().map(|it| with_origin(it.value)).collect())
        }
        Some(_) | None => Err("this is no TOML array; write [\"a\", \"b\"], or a,b".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_variable_are_two_writings_of_one_name() {
        let check = |key: &str, name: &str| assert_eq!(variable(key), name);
        check("store.path", "ENTITLED_STORE__PATH");
        check("sync.directory.remove_limit", "ENTITLED_SYNC__DIRECTORY__REMOVE_LIMIT");
        check("caller[0].key", "ENTITLED_CALLER__0__KEY");
        check("product[1].plan[2].channel", "ENTITLED_PRODUCT__1__PLAN__2__CHANNEL");
    }
}
