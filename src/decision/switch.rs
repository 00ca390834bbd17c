//! Moving a customer from one system to the other without a gap: from seats that Microsoft manages to
//! a license of the publisher, or back. Who is covered now by what and until when, who would lose
//! access, and the steps in their order with the day by which each must be done.
//!
//! Nothing carries over by itself: the customer buys anew and gives up the old.
//!
//! Source: `visuals-and-isv.md` section 1.7, "Switch AppSource↔OKVIZ".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cover::{LicenseCover, SeatCover, covers};
use super::license_now;
use crate::domain::{
    ActivatedBy, Activation, Consent, HeldSeat, HybridMode, License, LicenseId, LicenseUser,
    Mirror, OverLimit, Plan, Policy, Product, Sku, SkuId, SwitchAct, SwitchTo, TenantId, UserId,
};

/// So long before the old system ends the new one should be in place, so that what goes wrong can be
/// mended.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// So long before its end a purchase is kept from renewing itself.
const BEFORE_RENEWAL: SignedDuration = SignedDuration::from_hours(24);

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct SwitchAsked<'a> {
    /// Which customer.
    pub tenant: TenantId,
    /// Which product.
    pub product: &'a Product,
    /// Where to; without, away from the seats if there are any.
    pub to: Option<SwitchTo>,
    /// The license that is meant, where no activation tells.
    pub license: Option<LicenseId>,
}

/// What was bought of a plan in the tenant.
#[derive(Clone, Copy, Debug)]
pub struct Bought<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The SKU.
    pub sku: &'a Sku,
    /// When the purchase behind it ends, unless it is renewed.
    pub ends: Option<Timestamp>,
    /// Whether it renews itself, where Microsoft says so.
    pub renews: Option<bool>,
}

/// A license of the customer.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'a> {
    /// The license.
    pub license: &'a License,
    /// Whether the tenant is bound to it by its key.
    pub bound: bool,
    /// Whether it is usable now.
    pub usable: bool,
    /// How many places are taken, of all tenants.
    pub taken: u64,
    /// How many of those by users of packages, of whom nothing but their number is known.
    pub anonymous: u64,
    /// How many other tenants are bound to it by their key.
    pub others: usize,
}

/// A user who matters to the switch.
#[derive(Clone, Copy, Debug)]
pub struct Switched<'a> {
    /// Who.
    pub user: UserId,
    /// His seat.
    pub seat: Option<SeatCover<'a>>,
    /// The license that covers him, or would when he came.
    pub license: Option<LicenseCover>,
    /// His place among the license's users, while it is his.
    pub place: Option<HeldSeat>,
    /// Whether he would lose access if the old system ended now.
    pub loses: bool,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// It is the next one.
    Next,
    /// Not before those above it are done.
    Later,
    /// Whether it is done cannot be seen from here.
    Unseen,
}

impl Progress {
    /// The word that programs rely on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Next => "next",
            Self::Later => "later",
            Self::Unseen => "unseen",
        }
    }
}

/// A step of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchStep {
    /// What is done.
    pub act: SwitchAct,
    /// How far it is.
    pub progress: Progress,
    /// By when it must be done, or when it happens.
    pub by: Option<Timestamp>,
    /// How many users would lose access if it were done now; `None` where nobody can tell.
    pub loses: Option<u64>,
}

/// The whole plan of a customer and a product.
#[derive(Clone, Debug)]
pub struct Switch<'a> {
    /// Where to.
    pub to: SwitchTo,
    /// When the tenant's seats were last read completely.
    pub read: Option<Timestamp>,
    /// Whether they may not be read.
    pub refused: bool,
    /// What was bought of the product's plans.
    pub bought: Vec<Bought<'a>>,
    /// The customer's licenses of the product that are not revoked.
    pub owned: Vec<Owned<'a>>,
    /// Who has a seat or a place, by object id.
    pub users: Vec<Switched<'a>>,
    /// When the seats end: the first purchase that somebody holds a seat of.
    pub seats_end: Option<Timestamp>,
    /// When the license ends that covers them; `None` for never, or without one.
    pub license_end: Option<Timestamp>,
    /// For how many users the new system must be good, as far as anybody knows.
    pub needed: Option<u64>,
    /// What is done, in this order.
    pub steps: Vec<SwitchStep>,
}

impl<'a> Switch<'a> {
    /// The plan as of this moment. Looks at each user of the tenant once.
    pub fn plan(
        mirror: &'a Mirror,
        asked: &SwitchAsked<'a>,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let owned = owned(mirror, asked, policy, now);
        let mut users = users(mirror, asked, &owned, policy, now);
        let seated = users.iter().any(|it| it.seat.is_some());
        let bound = owned.iter().any(|it| it.bound && it.usable);
        let to = asked.to.unwrap_or(match (seated, bound) {
            (false, true) => SwitchTo::Appsource,
            (true, _) | (false, false) => SwitchTo::License,
        });
        losing(&mut users, to, &owned, policy);
        let view = mirror.tenant(asked.tenant);
        let bought = bought(mirror, asked);
        let used = |it: &&Bought<'_>| {
            users.iter().filter_map(|user| user.seat).any(|seat| std::ptr::eq(seat.plan, it.plan))
        };
        let ahead = |it: &Timestamp| *it > now;
        let seats_end = bought.iter().filter(used).filter_map(|it| it.ends).filter(ahead).min();
        let usable = owned.iter().filter(|it| it.usable);
        let ends = usable.filter_map(|it| license_now(it.license, policy.grace, now).ends);
        let mut plan = Self {
            to,
            read: view.and_then(|it| it.directory.last_complete),
            refused: view.is_some_and(|it| match it.tenant.consent {
                Consent::Missing | Consent::Revoked => true,
                Consent::Granted | Consent::Unknown => false,
            }),
            seats_end,
            license_end: ends.max(),
            needed: None,
            bought,
            owned,
            users,
            steps: Vec::new(),
        };
        plan.needed = plan.needed(mirror, asked);
        plan.steps = plan.steps(asked.product.hybrid, now);
        plan
    }

    /// How many users are covered by a seat, by a license, by both.
    pub fn covered(&self) -> (u64, u64, u64) {
        let count = |it: &dyn Fn(&Switched<'_>) -> bool| {
            count(self.users.iter().filter(|user| it(user)).count())
        };
        (
            count(&|it| it.seat.is_some()),
            count(&|it| it.license.is_some()),
            count(&|it| it.seat.is_some() && it.license.is_some()),
        )
    }

    /// How many users of usable licenses are known by their number alone: which of them have a seat,
    /// or would be without anything once the license ends, nobody can tell.
    pub fn anonymous(&self) -> u64 {
        self.owned.iter().filter(|it| it.usable).map(|it| it.anonymous).sum()
    }

    /// The license that the plan is about: the one that covers, or else the one that was named.
    pub fn license(&self) -> Option<&Owned<'a>> {
        self.owned.iter().find(|it| it.usable).or_else(|| self.owned.first())
    }

    /// The maximum that the license would need, if it is too small: places that are taken, and those
    /// who have a seat and no place.
    pub fn too_small(&self) -> Option<u64> {
        let it = self.license().filter(|it| it.usable)?;
        let coming = self.users.iter().filter(|it| it.seat.is_some() && it.place.is_none()).count();
        let needed = it.taken.saturating_add(count(coming));
        it.license.max_users().filter(|max| *max < needed).map(|_| needed)
    }

    /// For a license as many as hold seats; where they cannot be read, as many as the licence report
    /// says are assigned. For seats as many as have a place, by name or without.
    fn needed(&self, mirror: &Mirror, asked: &SwitchAsked<'_>) -> Option<u64> {
        let places = self.users.iter().filter(|it| it.place.is_some()).count();
        if self.to == SwitchTo::Appsource {
            let all = count(places).saturating_add(self.anonymous());
            return self.license().is_some().then_some(all);
        }
        if self.read.is_some() {
            return Some(self.covered().0);
        }
        let of_product = |id: &str| asked.product.plans.iter().any(|it| it.service_id.matches(id));
        let lines = mirror.reported_of(asked.tenant).iter();
        let assigned: Vec<u64> =
            lines.filter(|it| of_product(&it.service_id)).filter_map(|it| it.assigned).collect();
        (!assigned.is_empty()).then(|| assigned.iter().sum())
    }

    fn steps(&self, hybrid: HybridMode, now: Timestamp) -> Vec<SwitchStep> {
        let end = match self.to {
            SwitchTo::License => self.seats_end,
            SwitchTo::Appsource => self.license_end,
        };
        let before =
            |span: SignedDuration| end.map(|end| end.saturating_sub(span).unwrap_or(now).max(now));
        let lost = self.users.iter().filter(|it| it.loses).count();
        let lost = self.knows(hybrid).then_some(count(lost));
        let mut steps = Vec::new();
        let mut all_done = true;
        for (act, done) in self.acts(hybrid, lost) {
            let progress = match done {
                Some(true) => Progress::Done,
                None if all_done => Progress::Unseen,
                Some(false) if all_done => Progress::Next,
                Some(false) | None => Progress::Later,
            };
            all_done &= done == Some(true) || act == SwitchAct::StopRenewal;
            let (by, loses) = match act {
                SwitchAct::Lapse | SwitchAct::Expire => (end, lost),
                SwitchAct::Release => (before(BEFORE_RENEWAL), lost),
                SwitchAct::StopRenewal | SwitchAct::Cancel => (before(BEFORE_RENEWAL), Some(0)),
                SwitchAct::Read
                | SwitchAct::Issue
                | SwitchAct::Activate
                | SwitchAct::Raise
                | SwitchAct::Cover
                | SwitchAct::Buy
                | SwitchAct::Assign => (before(AHEAD), Some(0)),
            };
            steps.push(SwitchStep { act, progress, by, loses });
        }
        steps
    }

    /// Whether it can be told who would lose access: the old system's users, and the new one's. With a
    /// license that the whole tenant is bound to it does not matter who uses it without a name.
    fn knows(&self, hybrid: HybridMode) -> bool {
        let counted = self.owned.iter().all(|it| it.license.max_users().is_some() || it.bound);
        let by_name = counted && self.anonymous() == 0;
        match self.to {
            SwitchTo::License => self.read.is_some() && (hybrid == HybridMode::Entra || by_name),
            SwitchTo::Appsource => self.read.is_some() && self.anonymous() == 0,
        }
    }

    /// What is to be done, and whether it is; `None` where that cannot be seen.
    fn acts(&self, hybrid: HybridMode, lost: Option<u64>) -> Vec<(SwitchAct, Option<bool>)> {
        let read = (SwitchAct::Read, Some(self.read.is_some() && !self.refused));
        let usable = self.owned.iter().any(|it| it.usable);
        let nobody = |it: u64| it == 0;
        match self.to {
            SwitchTo::License => {
                let active = match hybrid {
                    HybridMode::Entra => self.owned.iter().any(|it| it.usable && it.bound),
                    HybridMode::Licensee | HybridMode::None => {
                        self.owned.iter().any(|it| it.usable && it.taken > 0)
                    }
                };
                let seats = self.covered().0;
                let gone = self.read.map(|_| seats == 0);
                let stopped = self.bought.iter().all(|it| it.renews == Some(false));
                let stopped =
                    (gone == Some(true) || stopped && !self.bought.is_empty()).then_some(true);
                let covered = if usable && active { lost.map(nobody) } else { Some(false) };
                let mut acts = vec![
                    read,
                    (SwitchAct::Issue, Some(usable)),
                    (SwitchAct::Activate, Some(active)),
                ];
                if self.too_small().is_some() {
                    acts.push((SwitchAct::Raise, Some(false)));
                }
                acts.extend([
                    (SwitchAct::Cover, covered),
                    (SwitchAct::StopRenewal, stopped),
                    (SwitchAct::Lapse, gone),
                ]);
                acts
            }
            SwitchTo::Appsource => {
                // A SKU that is two plans of the product was bought once.
                let skus: BTreeMap<SkuId, &Sku> =
                    self.bought.iter().map(|it| (it.sku.id, it.sku)).collect();
                let bought: u64 = skus.values().map(|it| u64::from(it.units.bought())).sum();
                let enough = self.needed.is_none_or(|it| bought >= it.max(1));
                let license = self.license().filter(|it| it.usable);
                let cancelled = license.is_none_or(|it| it.license.cancelled_at.is_some());
                let end = match license {
                    Some(it) if it.others > 0 => vec![(SwitchAct::Release, Some(!it.bound))],
                    Some(_) | None => vec![
                        (SwitchAct::Cancel, Some(cancelled)),
                        (SwitchAct::Expire, Some(license.is_none())),
                    ],
                };
                let nobody_is_there = self.users.is_empty() && self.anonymous() == 0;
                let assigned = self.covered().0 > 0 || nobody_is_there;
                let assigned = lost.map(|it| it == 0 && assigned);
                let first = [
                    read,
                    (SwitchAct::Buy, self.read.map(|_| enough)),
                    (SwitchAct::Assign, assigned),
                ];
                first.into_iter().chain(end).collect()
            }
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The licenses of the product that the tenant is bound to by their key, and the one that is named.
fn owned<'a>(
    mirror: &'a Mirror,
    asked: &SwitchAsked<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Owned<'a>> {
    let book = mirror.licenses();
    let by_key = book.activations_of_tenant(asked.tenant);
    let by_key: Vec<LicenseId> =
        by_key.filter(|it| it.by != ActivatedBy::Licensee).map(|it| it.license).collect();
    let ids: BTreeSet<LicenseId> = by_key.iter().copied().chain(asked.license).collect();
    let found = ids.into_iter().filter_map(|id| book.license(id));
    let of_product = found.filter(|it| it.product == asked.product.id && it.revoked_at.is_none());
    let stands = |it: &'a Arc<License>| {
        let users = book.users(it.id);
        let others = book.activations_of(it.id).filter(|it| it.by != ActivatedBy::Licensee);
        let other = |it: &&Arc<Activation>| it.tenant.is_some_and(|id| id != asked.tenant);
        Owned {
            license: it,
            bound: by_key.contains(&it.id),
            usable: license_now(it, policy.grace, now).state.is_usable(),
            taken: users.map_or(0, |all| all.in_use(policy.release_after, now)),
            anonymous: users.map_or(0, |all| all.anonymous_in_use(policy.release_after, now)),
            others: others.filter(other).count(),
        }
    };
    of_product.map(stands).collect()
}

/// The SKUs of the tenant that are plans of the product, with the end of what is behind them: as the
/// directory tells it, otherwise the term of the marketplace's subscription to that plan.
fn bought<'a>(mirror: &'a Mirror, asked: &SwitchAsked<'a>) -> Vec<Bought<'a>> {
    let Some(view) = mirror.tenant(asked.tenant) else { return Vec::new() };
    let managed = asked.product.plans.iter().filter(|it| it.channel.is_managed_per_user());
    let pairs = managed.flat_map(|plan| view.skus.iter().map(move |sku| (plan, sku)));
    let ours = pairs.filter(|(plan, sku)| view.sku_match(sku, plan).is_some());
    ours.map(|(plan, sku)| {
        let mut terms =
            mirror.subscriptions_of(asked.tenant).filter(|it| it.is_of(&plan.service_id));
        let term = terms.next();
        Bought {
            plan,
            sku,
            ends: sku.next_lifecycle.or_else(|| term.and_then(|it| it.term_end)),
            renews: term.and_then(|it| it.auto_renew),
        }
    })
    .collect()
}

/// Whoever has a seat, or a place among the users of a license.
fn users<'a>(
    mirror: &'a Mirror,
    asked: &SwitchAsked<'a>,
    owned: &[Owned<'_>],
    policy: &Policy,
    now: Timestamp,
) -> Vec<Switched<'a>> {
    let book = mirror.licenses();
    let live = |it: &HeldSeat| now.duration_since(it.last_used) <= policy.release_after;
    let place = |it: &Owned<'_>, user: UserId| {
        let seat = book.users(it.license.id)?.seat(LicenseUser::Known(asked.tenant, user));
        seat.filter(live)
    };
    let mut all = BTreeSet::new();
    if let Some(view) = mirror.tenant(asked.tenant) {
        all.extend(view.users.iter().map(|(user, _)| user));
        all.extend(view.rights.iter().map(|(user, _)| user).copied());
    }
    for places in owned.iter().filter_map(|it| book.users(it.license.id)) {
        all.extend(places.iter().filter_map(|(it, _)| match it {
            LicenseUser::Known(tenant, user) => (tenant == asked.tenant).then_some(user),
            LicenseUser::Anonymous(_) => None,
        }));
    }
    let found = all.into_iter().map(|user| {
        let it = covers(mirror, asked.product, (asked.tenant, user), policy, now);
        let held = owned.iter().find_map(|it| Some((it, place(it, user)?)));
        // A license that no activation tells of covers whoever has a place by it.
        let by_place = held.filter(|(it, _)| it.usable).map(|(it, _)| {
            let stands = license_now(it.license, policy.grace, now);
            LicenseCover { id: it.license.id, state: stands.state, until: stands.ends }
        });
        Switched {
            user,
            seat: it.seat,
            license: it.license.or(by_place),
            place: held.map(|(_, place)| place),
            loses: false,
        }
    });
    found.filter(|it| it.seat.is_some() || it.place.is_some()).collect()
}

/// Marks whoever would lose access if the old system ended now. Places of a license that refuses
/// whoever is too many are given in the order of object ids: who really comes first nobody knows.
fn losing(users: &mut [Switched<'_>], to: SwitchTo, owned: &[Owned<'_>], policy: &Policy) {
    let refuses =
        |it: &&Owned<'_>| it.license.over_limit.unwrap_or(policy.over_limit) == OverLimit::Deny;
    let mut free: BTreeMap<LicenseId, u64> = BTreeMap::new();
    for it in owned.iter().filter(refuses) {
        if let Some(max) = it.license.max_users() {
            free.insert(it.license.id, max.saturating_sub(it.taken));
        }
    }
    for it in users {
        let fits = match it.license {
            None => false,
            Some(_) if it.place.is_some() => true,
            Some(license) => match free.get_mut(&license.id) {
                None => true,
                Some(free) => {
                    let fits = *free > 0;
                    *free = free.saturating_sub(u64::from(it.seat.is_some()));
                    fits
                }
            },
        };
        it.loses = match to {
            SwitchTo::License => it.seat.is_some() && !fits,
            SwitchTo::Appsource => it.place.is_some() && it.seat.is_none(),
        };
    }
}
