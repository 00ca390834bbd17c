//! Licenses as files carry them, away and back: what a row says, and what it comes to here.
//!
//! A row has the fields of [`fact`](rows::fact), how far time was told, and the tenants that are bound.
//! Activation keys are in none: only a hash is kept of them, keyed with a secret of this store's, which
//! is worth nothing elsewhere. Whoever has kept the keys that `issue` showed may add them as a column
//! `key`.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::{refused, rows};
use crate::domain::{
    ActivatedBy, Activation, ActivationWrite, Catalog, Cause, Change, Commit, License, LicenseBook,
    LicenseId, LicenseLife, LicenseTold, Mirror, Sale,
};
use crate::http::problem::Problem;
use crate::store::Store;

/// The fields that a row may have; `standing` follows from others and is not read, `key` is not written.
const FIELDS: [&str; 23] = [
    "id",
    "product",
    "kind",
    "max",
    "node",
    "licensee",
    "billing",
    "domain",
    "over_limit",
    "cycle",
    "standing",
    "created",
    "trial_end",
    "paid_at",
    "period_start",
    "period_end",
    "cancelled_at",
    "suspended_at",
    "revoked_at",
    "tenants_max",
    "told",
    "bound",
    "key",
];

/// A license as a file carries it.
pub(in crate::http) fn exported(book: &LicenseBook, it: &License) -> Value {
    let mut row = rows::fact(it);
    if let Value::Object(row) = &mut row {
        row.insert("told".to_owned(), it.told.as_str().into());
        row.insert(
            "bound".to_owned(),
            book.activations_of(it.id).map(|it| bound_row(it)).collect(),
        );
    }
    row
}

fn bound_row(it: &Activation) -> Value {
    let mut row = rows::activation(it);
    if let Value::Object(row) = &mut row {
        row.remove("license");
    }
    row
}

/// A row of a file. A field that is not there says nothing: what is here stays; `null` says that there
/// is none.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::http) struct ImportRow {
    /// Where it stands in the file.
    pub(in crate::http) line: u64,
    /// What it says.
    pub(in crate::http) row: Map<String, Value>,
}

/// How rows are taken.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(in crate::http) struct ImportHow {
    /// Nothing is written.
    #[serde(default)]
    pub(in crate::http) dry_run: bool,
    /// A license that is here with other values becomes what the row says.
    #[serde(default)]
    pub(in crate::http) replace: bool,
}

/// Takes rows in one commit: what each comes to, in their order, and which fields mean nothing.
///
/// A row that cannot be taken is refused alone; what is here already is left alone.
pub(in crate::http) async fn import(
    store: &Store,
    catalog: Arc<Catalog>,
    rows: Vec<ImportRow>,
    how: ImportHow,
    (cause, now): (Cause, Timestamp),
) -> Result<Value, Problem> {
    let ignored = ignored(&rows);
    // The hash needs the store, which the thread that writes must not wait for.
    let hashed = |it: ImportRow| (key_of(store, &it.row), it);
    let rows: Vec<(Hashed, ImportRow)> = rows.into_iter().map(hashed).collect();
    let judge = move |mirror: &Mirror| taken(mirror, &catalog, &rows, how.replace, (&cause, now));
    let rows = if how.dry_run {
        judge(&store.snapshot()).1
    } else {
        store.decide(judge).await.map_err(Problem::unwritten)?
    };
    Ok(json!({ "rows": rows, "ignored": ignored }))
}

/// What is kept of the key in a row, or what is wrong with it.
type Hashed = Result<Option<[u8; 32]>, String>;

fn key_of(store: &Store, row: &Map<String, Value>) -> Hashed {
    let key = Fields(row).text("key").map_err(|it| said(&it))?;
    let key = key.map(|it| it.parse().map_err(|error| format!("`key`: {error}"))).transpose()?;
    Ok(key.map(|it| store.hash_key(&it)))
}

/// Names of fields that mean nothing to us, each once.
fn ignored(rows: &[ImportRow]) -> Vec<String> {
    let names = rows.iter().flat_map(|it| it.row.keys());
    let mut names: Vec<String> =
        names.filter(|it| !FIELDS.contains(&it.as_str())).cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What the rows come to, one after the other.
fn taken(
    mirror: &Mirror,
    catalog: &Catalog,
    rows: &[(Hashed, ImportRow)],
    replace: bool,
    by: (&Cause, Timestamp),
) -> (Option<Commit>, Vec<Value>) {
    let mut mirror = mirror.clone();
    let mut all = Commit::default();
    let mut told = Vec::with_capacity(rows.len());
    for (key, it) in rows {
        let weighed = key.clone().and_then(|key| weighed(mirror.licenses(), catalog, it, key, by));
        let (outcome, more) = match weighed {
            Err(why) => ("refused", json!({ "why": why })),
            Ok(it) if it.differs.is_empty() => ("same", json!({})),
            Ok(it) if it.known && !replace => {
                let names: Vec<&str> = it.differs.keys().map(String::as_str).collect();
                let why = format!(
                    "it is here with other values ({}): `--replace` takes those of the file; \
                     `licenses renew` and `licenses change` are for what happens from now on",
                    names.join(", ")
                );
                ("refused", json!({ "why": why, "differs": it.differs }))
            }
            Ok(it) => {
                let outcome = if it.known { "changed" } else { "new" };
                mirror = mirror.applied(&it.commit);
                all.licenses.extend(it.commit.licenses);
                all.activations.extend(it.commit.activations);
                all.changes.extend(it.commit.changes);
                (outcome, if it.known { json!({ "differs": it.differs }) } else { json!({}) })
            }
        };
        let mut row = json!({ "line": it.line, "id": it.row.get("id"), "outcome": outcome });
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        told.push(row);
    }
    ((!all.changes.is_empty()).then_some(all), told)
}

/// What a row comes to.
struct Weighed {
    /// Whether the license is here.
    known: bool,
    /// What is other than here: before and after.
    differs: Map<String, Value>,
    commit: Commit,
}

fn weighed(
    book: &LicenseBook,
    catalog: &Catalog,
    it: &ImportRow,
    key: Option<[u8; 32]>,
    (cause, now): (&Cause, Timestamp),
) -> Result<Weighed, String> {
    let id = Fields(&it.row).text("id").map_err(|it| said(&it))?;
    let id = id.ok_or("it has no `id`: sell it anew with `entitled licenses issue`")?;
    let id: LicenseId = id.parse().map_err(|error| format!("`id`: {error}"))?;
    let before = book.license(id);
    let old = before.map(|it| exported(book, it));
    let mut row = old.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    row.extend(it.row.clone());
    if key.is_some_and(|key| book.license_by_key(&key).is_some_and(|it| it.id != id)) {
        return Err("`key`: another license has it: give each its own".to_owned());
    }
    let key_before = before.and_then(|it| it.key_hash);
    let hash = key.or(key_before);
    let license = license(id, hash, (&it.row, &row), before.map(|it| &**it), (catalog, now));
    let license = license.map_err(|it| said(&it))?;
    if before.is_some_and(|it| it.revoked_at.is_some()) && license.revoked_at.is_none() {
        return Err("it was revoked here, which is for good: issue a new license".to_owned());
    }
    let (activations, bound) = binding(book, id, row.get("bound"), now)?;
    let mut new = rows::fact(&license);
    if let Value::Object(new) = &mut new {
        new.insert("told".to_owned(), license.told.as_str().into());
        new.insert("bound".to_owned(), bound);
    }
    let mut differs = differing(old.as_ref(), &new);
    if license.key_hash != key_before {
        differs.insert("key".to_owned(), json!(["…", "…"]));
    }
    let tenant = book.activations_of(id).find_map(|it| it.tenant);
    let mut changes: Vec<Change> = Vec::new();
    if before.is_none_or(|it| **it != license) {
        let before = before.map(|it| &**it);
        changes.push(Change::of_license(now, cause.clone(), tenant, before, &license));
    }
    for write in &activations {
        let (before, after) = match write {
            ActivationWrite::Put(it) => (book.activation(it.id).map(|it| &**it), Some(it)),
            ActivationWrite::Remove(id) => (book.activation(*id).map(|it| &**it), None),
        };
        changes.push(Change::of_activation(now, cause.clone(), before, after));
    }
    let commit = Commit { licenses: vec![license], activations, changes, ..Commit::default() };
    Ok(Weighed { known: before.is_some(), differs, commit })
}

/// The license that a row says; `row` is it on top of what is here.
fn license(
    id: LicenseId,
    key_hash: Option<[u8; 32]>,
    (said, row): (&Map<String, Value>, &Map<String, Value>),
    before: Option<&License>,
    (catalog, now): (&Catalog, Timestamp),
) -> Result<License, Problem> {
    let fields = Fields(row);
    let mut sale = fields.sale(catalog)?;
    let created = fields.moment("created")?.unwrap_or(now);
    let mut paid_at = fields.moment("paid_at")?;
    // Who never heard of that column says dates as `issue` does, and says them so again.
    let dates = ["cycle", "trial_end", "period_end"];
    let derived = before.is_none() || dates.iter().any(|it| said.contains_key(*it));
    if derived && !said.contains_key("paid_at") {
        let fresh = License::issued(id, None, sale.clone(), created).map_err(refused)?;
        paid_at = paid_at.or(fresh.paid_at);
        sale = Sale { trial_end: fresh.trial_end, period_end: fresh.period_end, ..sale };
    }
    let life = LicenseLife {
        created,
        paid_at,
        cancelled_at: fields.moment("cancelled_at")?,
        suspended_at: fields.moment("suspended_at")?,
        revoked_at: fields.moment("revoked_at")?,
        told: fields.word("told")?.unwrap_or(LicenseTold::Nothing),
    };
    License::restored(id, key_hash, sale, life).map_err(refused)
}

/// What must be written so that exactly these tenants are bound, and they as rows.
fn binding(
    book: &LicenseBook,
    license: LicenseId,
    said: Option<&Value>,
    now: Timestamp,
) -> Result<(Vec<ActivationWrite>, Value), String> {
    let parsed: Value;
    let list = match said {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(list)) => list,
        Some(Value::String(text)) => {
            parsed = serde_json::from_str(text).map_err(|_no_json| NO_LIST)?;
            parsed.as_array().ok_or(NO_LIST)?
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            return Err(NO_LIST.to_owned());
        }
    };
    let wanted = list.iter().map(|it| bound(license, it, now)).collect::<Result<Vec<_>, _>>()?;
    let mut writes: Vec<ActivationWrite> = book
        .activations_of(license)
        .filter(|old| wanted.iter().all(|it| it.id != old.id))
        .map(|old| ActivationWrite::Remove(old.id))
        .collect();
    for it in &wanted {
        match book.activation(it.id) {
            Some(old) if old.license != license => {
                return Err(format!("`bound`: {} is an activation of another license", it.id));
            }
            Some(old) if **old == *it => {}
            Some(_) | None => writes.push(ActivationWrite::Put(it.clone())),
        }
    }
    let mut wanted = wanted;
    wanted.sort_by_key(|it| (it.at, it.id));
    Ok((writes, wanted.iter().map(bound_row).collect()))
}

const NO_LIST: &str = "`bound` is no list of `{\"id\", \"tenant\", \"by\", \"at\"}`, as `licenses export` \
                       writes it";

fn bound(license: LicenseId, it: &Value, now: Timestamp) -> Result<Activation, String> {
    let row = it.as_object().ok_or(NO_LIST)?;
    let fields = Fields(row);
    let problem = |it: Problem| format!("`bound`: {}", said(&it));
    let needed = |name: &'static str| -> Result<Arc<str>, String> {
        fields.text(name).map_err(problem)?.ok_or_else(|| NO_LIST.to_owned())
    };
    let by = needed("by")?;
    let user = by.parse().map(ActivatedBy::User);
    Ok(Activation {
        id: needed("id")?.parse().map_err(|error| format!("`bound`: {error}"))?,
        license,
        tenant: fields.word("tenant").map_err(problem)?,
        by: match &*by {
            "licensee" => ActivatedBy::Licensee,
            _ => user.unwrap_or(ActivatedBy::Server(by)),
        },
        at: fields.moment("at").map_err(problem)?.unwrap_or(now),
    })
}

/// The fields that differ, each with what it was and what it is; `standing` follows from others.
fn differing(old: Option<&Value>, new: &Value) -> Map<String, Value> {
    let new = new.as_object().into_iter().flatten();
    let differing = new.filter_map(|(name, after)| {
        let before = old.and_then(|it| it.get(name)).unwrap_or(&Value::Null);
        let news = before != after && name != "standing";
        news.then(|| (name.clone(), json!([before, after])))
    });
    differing.collect()
}

fn said(problem: &Problem) -> String {
    problem.body().detail().to_owned()
}

#[cfg(test)]
mod tests;
