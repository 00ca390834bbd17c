//! Licenses of the publisher: what is sold and done to them, for servers on the public listener and
//! for operators alike.
//!
//! Source: contract sections 2, 4, 5 and 7.

pub(super) mod fields;
mod issue_anew;
mod overlap;
mod package;
pub(super) mod rows;
mod switch;
mod transfer;

use jiff::Timestamp;
use serde_json::{Map, Value};

use self::fields::Fields;
use super::problem::Problem;
use crate::domain::{
    ActivationKey, Cause, Change, Commit, License, LicenseBook, LicenseId, LicenseRefused,
    LicenseStep, Notice, Policy, Sale,
};
use crate::store::{Once, Store, StoreError, UsageRepeat};

pub(super) use issue_anew::{reissue, unbind};
pub(super) use overlap::{By, PaidTwice};
pub(super) use package::package;
pub(super) use switch::{SwitchQuery, plans};
pub(super) use transfer::{ImportHow, ImportRow, exported, import};

/// Who asks for it, when, and whether he may be repeating himself.
pub(super) struct Order {
    /// What the journal says of it.
    pub(super) cause: Cause,
    /// Digests of idempotency key and body, and the key itself.
    pub(super) repeat: Option<(UsageRepeat, String)>,
    /// When.
    pub(super) now: Timestamp,
}

/// Issues a license: its row, with the activation key.
///
/// The key is not kept, and so neither in the remembered answer: a request with an idempotency key
/// gets one that is derived from that key, and so the same one again when it is repeated.
pub(super) async fn issue(
    store: &Store,
    policy: &Policy,
    sale: Sale,
    order: Order,
) -> Result<Value, Problem> {
    let Order { cause, repeat, now } = order;
    let id = store.new_license_id().map_err(Problem::unwritten)?;
    let (repeat, secret) = repeat.unzip();
    let key = NewKey::draw(store, secret)?;
    let hash = store.hash_key(&key.of(id));
    let license = License::issued(id, Some(hash), sale, now).map_err(refused)?;
    let row = rows::license(&LicenseBook::default(), &license, policy, now);
    let answer = serde_json::to_vec(&row).unwrap_or_default();
    let change = Change::of_license(now, cause, None, None, &license);
    let commit = Commit { licenses: vec![license], changes: vec![change], ..Commit::default() };
    let done = store.decide_once(repeat, now, move |_| Ok::<_, Problem>((Some(commit), answer)));
    Ok(key.shown_in(answered(done.await)?))
}

/// The activation key of a license to be: drawn or, of a request with an idempotency key, derived from
/// that and the license's id, so that it is the same when the request is repeated.
struct NewKey<'a> {
    store: &'a Store,
    drawn: ActivationKey,
    secret: Option<String>,
}

impl<'a> NewKey<'a> {
    fn draw(store: &'a Store, secret: Option<String>) -> Result<Self, Problem> {
        let drawn = store.new_activation_key().map_err(Problem::unwritten)?;
        Ok(Self { store, drawn, secret })
    }

    fn of(&self, id: LicenseId) -> ActivationKey {
        let Some(secret) = &self.secret else { return self.drawn.clone() };
        let seed = [id.as_str().as_bytes(), b"\0", secret.as_bytes()].concat();
        let digest = self.store.keyed("activation key of a request", &seed);
        let (random, _) = digest.split_first_chunk().unwrap_or((&[0; ActivationKey::RANDOM], &[]));
        ActivationKey::from_random(*random)
    }

    /// The row of a license with its key, which is shown this once.
    fn shown_in(&self, mut row: Value) -> Value {
        let issued = row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let key = issued.map_or_else(|| self.drawn.clone(), |id| self.of(id));
        if let Value::Object(row) = &mut row {
            row.insert("key".to_owned(), key.expose().into());
        }
        row
    }
}

/// Does something to a license: its row afterwards, with what is to be credited.
pub(super) async fn step(
    store: &Store,
    policy: &Policy,
    (id, step): (LicenseId, LicenseStep),
    price: Option<f64>,
    order: Order,
) -> Result<Value, Problem> {
    let Order { cause, repeat, now } = order;
    let policy = policy.clone();
    let repeat = repeat.map(|(it, _)| it);
    let done = store.decide_once(repeat, now, move |mirror| {
        let book = mirror.licenses();
        let before = book.license(id).ok_or_else(unknown)?;
        let stepped = before.stepped(&step, now).map_err(refused)?;
        let mut row = rows::license(book, &stepped.license, &policy, now);
        if let (Value::Object(row), Some(credit)) = (&mut row, stepped.credit) {
            row.insert("credit".to_owned(), rows::credit(credit, price));
        }
        let answer = serde_json::to_vec(&row).unwrap_or_default();
        let tenant = book.activations_of(id).find_map(|it| it.tenant);
        let change = Change::of_license(now, cause, tenant, Some(before), &stepped.license);
        let users = || book.users(id).map_or(0, |it| it.in_use(policy.release_after, now));
        let notices = crossed(before, &stepped.license, users)
            .map(|users| Notice::license_over_limit(&stepped.license, users, None, now));
        let commit = Commit {
            licenses: vec![stepped.license],
            changes: vec![change],
            notices: notices.into_iter().collect(),
            ..Commit::default()
        };
        Ok::<_, Problem>(((!stepped.already).then_some(commit), answer))
    });
    answered(done.await)
}

/// How many users a license has, if a smaller maximum makes them too many.
fn crossed(before: &License, after: &License, users: impl FnOnce() -> u64) -> Option<u64> {
    let (old, max) = (before.max_users(), after.max_users()?);
    let smaller = old.is_none_or(|old| max < old);
    smaller.then(users).filter(|users| *users > max && old.is_none_or(|old| *users <= old))
}

/// Reads what is to be done to a license; `name` is the last part of its route.
pub(super) fn read_step(
    name: &str,
    body: &Map<String, Value>,
) -> Result<(LicenseStep, Option<f64>), Problem> {
    let fields = Fields(body);
    let step = match name {
        "renew" => LicenseStep::Renew(fields.period()?),
        "change" => LicenseStep::Change(fields.change()?),
        "cancel" => LicenseStep::Cancel,
        "suspend" => LicenseStep::Suspend,
        "reinstate" => LicenseStep::Reinstate,
        "revoke" => LicenseStep::Revoke,
        _ => return Err(Problem::not_found("licenses know no such step")),
    };
    Ok((step, fields.price()?))
}

/// Nobody is told whether a license is of another shape or not there.
pub(super) fn unknown() -> Problem {
    Problem::not_found("there is no license of this id: `entitled licenses list` has them all")
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn refused(error: LicenseRefused) -> Problem {
    let detail = error.to_string();
    match error {
        LicenseRefused::Field { field, .. } => Problem::invalid(detail).of_field(field),
        LicenseRefused::Standing(_) => Problem::conflict(detail),
    }
}

fn answered(done: Result<Once<Problem>, StoreError>) -> Result<Value, Problem> {
    let bytes = match done.map_err(Problem::unwritten)? {
        Once::Now(answer) => answer?,
        Once::Before(answer) => answer.to_vec(),
        Once::OtherBody => return Err(Problem::other_body()),
        Once::Full => return Err(Problem::too_many_keys()),
    };
    serde_json::from_slice(&bytes).map_err(|error| Problem::internal("no answer").because(error))
}
