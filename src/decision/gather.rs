//! From the mirror to the evidence of one question: look-ups only, whatever the tenant's size.

use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::evidence::{
    Covered, Evidence, Knowledge, Known, Question, Seat, Subscribed, UsageRight,
};
use super::licensed::licensed;
use super::{Decision, SeatOf, SeatUse, Trail, decide};
use crate::domain::{
    Channel, Cloud, Coverage, LicenseId, Mirror, Plan, Policy, Product, SourceKey, Subscription,
    SubscriptionId, SubscriptionStatus, TenantId, TenantView, UserId, names_sku,
};

/// What speaks for or against one question; rarely more than a handful.
pub(super) type Pieces<'a> = SmallVec<[Evidence<'a>; 4]>;

/// What the mirror holds for or against a question, and how far its sources have been read.
///
/// Takes no seat: whether one is free is part of the evidence ([`Covered`]).
pub fn gather<'a>(
    mirror: &'a Mirror,
    question: &Question<'a>,
    policy: &Policy,
    now: Timestamp,
) -> (Pieces<'a>, Knowledge) {
    let mut pieces = Pieces::new();
    let subscriptions = Known {
        last_complete: mirror.source(SourceKey::SUBSCRIPTIONS).and_then(|it| it.last_complete),
        refused: false,
        unread: holds_unread(mirror, question),
        rights_unread: false,
    };
    let mut knowledge = Knowledge {
        subscriptions,
        directory: Known::default(),
        licenses_forgotten: mirror.licenses().is_forgotten(),
        cloud: Cloud::Public,
    };
    licensed(mirror, question, policy, now, &mut pieces);
    let Some(tenant) = question.keyed_tenant() else { return (pieces, knowledge) };
    subscribed(mirror, question, tenant, now, &mut pieces);
    if let Some(view) = mirror.tenant(tenant) {
        knowledge.cloud = view.tenant.cloud;
        knowledge.directory = Known::of_directory(view);
        let before = pieces.len();
        knowledge.directory.unread = seated(view, question, &mut pieces);
        shown(view, question, &mut pieces);
        // Who was found to hold something there needs no word on rights that were not read.
        knowledge.directory.rights_unread =
            pieces.len() == before && rights_are_unread(mirror, view, question);
    }
    (pieces, knowledge)
}

/// Whether the list of subscriptions holds one that nobody could read, and that could have spoken.
fn holds_unread(mirror: &Mirror, question: &Question<'_>) -> bool {
    let Some(tenant) = question.keyed_tenant() else { return false };
    mirror.unread().any(|it| it.could_speak_for(tenant, question.product))
}

/// Whether the tenant has licences that only the user's own usage rights would show, and they were
/// never read, or read and not believed: "no licence was found" is then no "there is none".
fn rights_are_unread(mirror: &Mirror, view: &TenantView, question: &Question<'_>) -> bool {
    question.user.is_some_and(|user| view.rights.get(user).is_none())
        && managed(question.product).any(|plan| mirror.hides(view, plan))
}

/// Answers a question from the mirror.
pub fn answer(
    mirror: &Mirror,
    question: &Question<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let (evidence, knowledge) = gather(mirror, question, policy, now);
    let question = &question.after_gathering(&evidence);
    decide(question, &evidence, &knowledge, policy, now)
}

/// Answers a question from the mirror and says how it came to the answer.
pub fn explain(
    mirror: &Mirror,
    question: &Question<'_>,
    policy: &Policy,
    now: Timestamp,
) -> (Decision, Trail) {
    let (evidence, knowledge) = gather(mirror, question, policy, now);
    let question = &question.after_gathering(&evidence);
    let decision = decide(question, &evidence, &knowledge, policy, now);
    let trail = Trail::new(question, &evidence, &knowledge, policy, now);
    (decision, trail)
}

/// The subscription of which the user wanted a seat and found none free.
pub fn full_subscription(
    mirror: &Mirror,
    question: &Question<'_>,
    now: Timestamp,
) -> Option<SubscriptionId> {
    let mut pieces = Pieces::new();
    subscribed(mirror, question, question.keyed_tenant()?, now, &mut pieces);
    let is_full = |it: &Subscribed<'_>| {
        let live = it.subscription.status == SubscriptionStatus::Subscribed;
        live && it.covered == Covered::NoneFree
    };
    pieces.iter().find_map(|it| match it {
        Evidence::Subscription(it) => is_full(it).then_some(it.subscription.id),
        Evidence::Seat(_) | Evidence::License(_) | Evidence::UsageRight(_) => None,
    })
}

/// The license by which the user was refused, since it has its maximum of users; with how many came
/// before him.
pub fn full_license(
    mirror: &Mirror,
    question: &Question<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Option<(LicenseId, u64)> {
    let mut pieces = Pieces::new();
    licensed(mirror, question, policy, now, &mut pieces);
    pieces.iter().find_map(|it| match it {
        Evidence::License(it) => {
            let users = it.users.filter(|users| users.before >= users.max)?;
            Some((it.id.parse().ok()?, users.before))
        }
        Evidence::Subscription(_) | Evidence::Seat(_) | Evidence::UsageRight(_) => None,
    })
}

/// The tenant's subscriptions to plans that Microsoft manages no licences of. The purchaser's
/// tenant finds nothing: what it paid for is another's.
fn subscribed<'a>(
    mirror: &'a Mirror,
    question: &Question<'a>,
    tenant: TenantId,
    now: Timestamp,
    pieces: &mut Pieces<'a>,
) {
    if !question.product.sells_on(Channel::Saas) {
        return;
    }
    for subscription in mirror.subscriptions_of(tenant) {
        let of_it = |it: &&Plan| it.channel == Channel::Saas && subscription.is_of(&it.service_id);
        for plan in question.product.plans.iter().filter(of_it) {
            let covered = covered(mirror, subscription, plan, (tenant, question.user), now);
            pieces.push(Evidence::Subscription(Subscribed { subscription, plan, covered }));
        }
    }
}

fn covered(
    mirror: &Mirror,
    subscription: &Subscription,
    plan: &Plan,
    (tenant, user): (TenantId, Option<UserId>),
    now: Timestamp,
) -> Covered {
    let user = match (plan.coverage, user) {
        (Coverage::Tenant, _) => return Covered::Tenant,
        (Coverage::Seats, None) => return Covered::NoUser,
        (Coverage::Seats, Some(user)) => user,
    };
    let (id, quantity, release_after) =
        (subscription.id, subscription.quantity, plan.release_after);
    let holders = mirror.holders(id);
    let seat = holders.and_then(|it| it.seat(tenant, user));
    let held = seat.filter(|it| now.duration_since(it.last_used) <= release_after);
    let seat = SeatUse { of: SeatOf::Subscription(id), quantity, release_after, held };
    let Some((holders, quantity)) = holders.zip(quantity) else {
        return match (held, quantity) {
            (Some(_), _) => Covered::HoldsSeat(seat),
            (None, Some(0)) => Covered::NoneFree,
            (None, _) => Covered::SeatFree(seat),
        };
    };
    if held.is_some() {
        let holds = holders.holds(tenant, user, quantity, release_after, now);
        return if holds { Covered::HoldsSeat(seat) } else { Covered::NoneFree };
    }
    if holders.in_use(release_after, now) < quantity {
        Covered::SeatFree(seat)
    } else {
        Covered::NoneFree
    }
}

/// What the user holds, or is meant to hold, of the SKUs that are plans of the product. Whether
/// there may be more: something about him could not be understood, or he holds a SKU that is named
/// to be such a plan and that the tenant does not list.
fn seated<'a>(view: &'a TenantView, question: &Question<'a>, pieces: &mut Pieces<'a>) -> bool {
    let Some(user) = question.user else { return false };
    let Some(held) = view.users.get(user) else { return false };
    let (marked, mut unread) = (held.missing_since.is_some(), held.unread);
    for licence in held.licences {
        let Some(sku) = view.sku(licence.sku) else {
            let named = |plan: &Plan| names_sku(plan, licence.sku, &view.mappings);
            unread |= licence.assigned && managed(question.product).any(named);
            continue;
        };
        let held_back = view.holds_back(user, marked, sku);
        let licence = Arc::new(licence);
        for plan in managed(question.product) {
            let Some(found) = view.sku_match(sku, plan) else { continue };
            let licence = Arc::clone(&licence);
            pieces.push(Evidence::Seat(Seat { plan, sku, found, licence, held_back }));
        }
    }
    unread
}

/// The usage rights that the user was last shown to hold and that are plans of the product.
fn shown<'a>(view: &'a TenantView, question: &Question<'a>, pieces: &mut Pieces<'a>) {
    let Some(rights) = question.user.and_then(|user| view.rights.get(user)) else { return };
    for right in &rights.rows {
        for plan in managed(question.product).filter(|it| right.is_of(it, &view.mappings)) {
            let (state, as_of) = (&*right.state, rights.read_at);
            pieces.push(Evidence::UsageRight(UsageRight { plan, state, as_of }));
        }
    }
}

/// The plans of which Microsoft manages licences.
fn managed(product: &Product) -> impl Iterator<Item = &Plan> {
    product.plans.iter().filter(|it| it.channel.is_managed_per_user())
}
