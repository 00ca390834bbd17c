//! One report of usage as it comes: what is wrong with it is said by the field, and nothing that
//! Microsoft would refuse is taken, as far as we can know.

use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{
    Change, Entity, Fact, Quantity, Subscription, SubscriptionId, SubscriptionStatus, UsageKey,
    hour_of, is_dimension,
};
use crate::http::problem::Problem;
use crate::store::{ChangeFilter, Store, UsageReport};

/// How old usage may be: an hour less than Microsoft takes, so that it can still be sent.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(23);

/// How far clocks may differ.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// What was used, how much and when. Without an `Idempotency-Key` a request that is sent twice is
/// counted twice.
#[derive(Deserialize, ToSchema)]
#[schema(as = UsageReport)]
pub(super) struct ReportBody {
    /// The marketplace subscription's id.
    #[schema(value_type = String)]
    subscription: Option<Box<RawValue>>,
    /// The custom dimension's id in Partner Center.
    #[schema(value_type = String)]
    dimension: Option<Box<RawValue>>,
    /// More than 0, with at most 6 decimal places.
    #[schema(value_type = f64)]
    quantity: Option<Box<RawValue>>,
    /// When it was used: at most 23 hours ago; now, if it is not said. It counts for its clock hour
    /// (UTC), as long as that was not sent: ten minutes after its end.
    #[schema(value_type = Option<String>)]
    at: Option<Box<RawValue>>,
}

/// The report, checked against what we know of the subscription.
pub(super) async fn read(
    body: &ReportBody,
    store: &Store,
    now: Timestamp,
) -> Result<UsageReport, Problem> {
    let wrong = |field, detail: String| Problem::invalid(detail).of_field(field);
    let id: SubscriptionId = needed("subscription", body.subscription.as_deref())?;
    let dimension: String = needed("dimension", body.dimension.as_deref())?;
    if !is_dimension(&dimension) {
        let detail = "a dimension's id has 1 to 64 letters, digits, `-`, `_` and `.`".to_owned();
        return Err(wrong("dimension", detail));
    }
    let quantity = quantity(body.quantity.as_deref())?;
    let at = match body.at.as_deref() {
        None => now,
        Some(_) => moment(&needed::<String>("at", body.at.as_deref())?)?,
    };
    if now.duration_since(at) > AGE_MAX {
        let detail = "it was used more than 23 hours ago: Microsoft takes usage for 24 hours only";
        return Err(wrong("at", detail.to_owned()));
    }
    if at.duration_since(now) > AHEAD_MAX {
        let detail = format!("it is in the future, by our clock: {now}");
        return Err(wrong("at", detail));
    }
    let mirrored = store.mirror().subscription(id).map(Arc::clone);
    let Some(mirrored) = mirrored else {
        let detail = format!(
            "there is no subscription {id} in the mirror: if it is new, try again after the next \
             read of the list"
        );
        return Err(wrong("subscription", detail));
    };
    let plan = plan_at(&mirrored, store, at).await?;
    let key = UsageKey { subscription: id, dimension: dimension.into(), hour: hour_of(at) };
    Ok(UsageReport { key, plan, at, quantity })
}

/// The plan of that moment, if the subscription was active then as far as is known.
async fn plan_at(
    mirrored: &Arc<Subscription>,
    store: &Store,
    at: Timestamp,
) -> Result<Arc<str>, Problem> {
    let id = mirrored.id;
    let changes = if at >= mirrored.observed_at {
        Vec::new()
    } else {
        let store = store.clone();
        let filter = ChangeFilter {
            subscription: Some(id),
            since: Some(at),
            limit: usize::MAX,
            ..ChangeFilter::default()
        };
        let read = tokio::task::spawn_blocking(move || store.changes(&filter)).await;
        let unread =
            || Problem::unavailable("the journal cannot be read: try again").retry_after(5);
        read.map_err(|error| unread().because(error))?.map_err(|error| unread().because(error))?
    };
    active(mirrored, &changes, at).ok_or_else(|| {
        let status = mirrored.status.as_str();
        let detail = format!(
            "subscription {id} was not Subscribed at {at} (now it is {status}): Microsoft takes \
             usage of active subscriptions only"
        );
        Problem::invalid(detail).of_field("subscription")
    })
}

/// The plan, if the last reading before that moment or the first one after it was Subscribed: when
/// exactly it changed between two readings nobody knows, and Microsoft has the last word.
///
/// `changes` are those from that moment on, oldest first.
fn active(mirrored: &Subscription, changes: &[Change], at: Timestamp) -> Option<Arc<str>> {
    let first = changes.iter().find(|it| it.entity == Entity::Subscription && it.at > at);
    let of = |fact: Option<&Fact>| match fact {
        Some(Fact::Subscription(it)) if it.status == SubscriptionStatus::Subscribed => {
            Some(Arc::clone(&it.plan))
        }
        _ => None,
    };
    if let Some(change) = first {
        return of(change.before.as_ref()).or_else(|| of(change.after.as_ref()));
    }
    let active = mirrored.status == SubscriptionStatus::Subscribed;
    active.then(|| Arc::clone(&mirrored.plan))
}

fn quantity(sent: Option<&RawValue>) -> Result<Quantity, Problem> {
    let wrong = |detail: String| Problem::invalid(detail).of_field("quantity");
    let sent = sent.ok_or_else(|| wrong("`quantity` is missing".to_owned()))?;
    sent.get().parse().map_err(|error| wrong(format!("`quantity`: {error}")))
}

/// The date library's own words would repeat what was sent.
fn moment(text: &str) -> Result<Timestamp, Problem> {
    let wrong =
        || Problem::invalid("`at`: write a moment, such as 2026-11-01T08:00:00Z").of_field("at");
    text.parse().map_err(|_words| wrong())
}

/// A field that is text and something in particular.
fn needed<T: FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    sent: Option<&RawValue>,
) -> Result<T, Problem> {
    let wrong = |detail: String| Problem::invalid(detail).of_field(field);
    let sent = sent.ok_or_else(|| wrong(format!("`{field}` is missing")))?;
    let text: String = serde_json::from_str(sent.get())
        .map_err(|_other| wrong(format!("`{field}` is no text")))?;
    text.trim().parse().map_err(|error| wrong(format!("`{field}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Cause;
    use uuid::Uuid;

    fn subscription(status: &str, plan: &str) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            plan: plan.into(),
            status: SubscriptionStatus::from_word(status),
            ..Subscription::sample()
        }
    }

    /// Status and plan.
    type Was = (&'static str, &'static str);

    #[test]
    fn what_was_read_before_or_after_the_moment_decides() {
        let at = Timestamp::from_second(1_000).unwrap();
        let check = |changes: &[(i64, Option<Was>, Was)], plan: Option<&str>| {
            let change = |(when, before, after): &(i64, Option<Was>, Was)| {
                let before = before.map(|(status, plan)| subscription(status, plan));
                let when = Timestamp::from_second(*when).unwrap();
                let after = subscription(after.0, after.1);
                Change::of_subscription(when, Cause::Command, before.as_ref(), &after)
            };
            let changes: Vec<Change> = changes.iter().map(change).collect();
            let now = subscription("Unsubscribed", "now");
            assert_eq!(active(&now, &changes, at).as_deref(), plan, "{changes:?}");
        };
        check(&[], None);
        check(&[(2_000, Some(("Subscribed", "old")), ("Unsubscribed", "old"))], Some("old"));
        check(&[(2_000, Some(("Subscribed", "old")), ("Subscribed", "new"))], Some("old"));
        check(
            &[(2_000, Some(("PendingFulfillmentStart", "old")), ("Subscribed", "new"))],
            Some("new"),
        );
        check(&[(2_000, None, ("Subscribed", "first"))], Some("first"));
        check(&[(2_000, Some(("Suspended", "old")), ("Unsubscribed", "old"))], None);
        check(&[(900, Some(("Subscribed", "old")), ("Unsubscribed", "old"))], None);
        let mirrored = subscription("Subscribed", "now");
        assert_eq!(active(&mirrored, &[], at).as_deref(), Some("now"));
    }
}
