//! The laws that a decision keeps, whatever the evidence.

use std::collections::BTreeMap;
use std::sync::Arc;

use entitled::decision::{
    Covered, Decision, Evidence, Fate, Knowledge, Known, License, Proof, Question, Reason, Seat,
    SeatOf, SeatUse, State, Subscribed, Trail, UsageRight, Users, decide, host,
};
use entitled::domain::{
    CapabilityStatus, Channel, Cloud, Coverage, Host, HybridMode, Licence, LicenseKind, OnStale,
    OverLimit, Path, PathState, Plan, Policy, Product, Sku, SkuId, SkuMatch, Standing,
    Subscription, SubscriptionId, SubscriptionStatus, TenantId, Units, UserId, Via,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use crate::samples;

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// A moment some hours from now.
fn at(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn id(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n) + 1)
}

fn plan(channel: Channel, name: &str, features: &[&str]) -> Plan {
    Plan {
        service_id: format!("p.o.{name}").parse().unwrap(),
        channel,
        coverage: Coverage::Tenant,
        features: features.iter().map(|it| Arc::from(*it)).collect(),
        sku_ids: Vec::new(),
        service_plan_ids: Vec::new(),
        release_after: SignedDuration::from_hours(720),
    }
}

/// One plan a channel that has plans, and a second one with more features.
fn product(hybrid: HybridMode) -> Product {
    let plans = vec![
        plan(Channel::Appsource, "a", &["x"]),
        plan(Channel::Saas, "s", &["x"]),
        plan(Channel::IsvApp, "i", &[]),
        plan(Channel::Appsource, "b", &["x", "y"]),
        plan(Channel::Saas, "t", &["x", "y", "z"]),
    ];
    let features = BTreeMap::from([(Channel::Direct, Arc::from([Arc::from("x"), Arc::from("w")]))]);
    Product { id: "viz".parse().unwrap(), name: "Viz".into(), hybrid, features, plans }
}

/// A piece of evidence without what it borrows.
#[derive(Clone, Debug)]
enum Piece {
    Subscription {
        id: u8,
        plan: bool,
        word: &'static str,
        trial: bool,
        ends: Option<i64>,
        covered: u8,
    },
    Seat {
        id: u8,
        plan: u8,
        word: &'static str,
        moves_on: Option<i64>,
        paths: Vec<(bool, &'static str)>,
    },
    License {
        id: u8,
        fixed: Fixed,
        trial: Option<i64>,
        paid: Option<i64>,
        period: Option<i64>,
    },
    Usage {
        word: &'static str,
        age: i64,
    },
}

impl Piece {
    /// The same under another id: no two pieces of a world share one.
    fn numbered(mut self, n: u8) -> Self {
        match &mut self {
            Self::Subscription { id, .. } | Self::Seat { id, .. } | Self::License { id, .. } => {
                *id = n;
            }
            Self::Usage { .. } => {}
        }
        self
    }
}

/// What of a license does not move with time.
#[derive(Clone, Debug)]
struct Fixed {
    kind: LicenseKind,
    standing: Standing,
    proof: Proof,
    before: Option<u64>,
    over_limit: Option<OverLimit>,
}

fn hours() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(-2000_i64..2000)
}

fn a_license() -> impl Strategy<Value = Piece> {
    use Standing::{Cancelled, Current, Revoked, Suspended};
    let fixed = (
        select(vec![LicenseKind::User, LicenseKind::Capacity, LicenseKind::Site]),
        select(vec![Current, Cancelled, Suspended, Revoked]),
        select(vec![Proof::Package, Proof::EntraActivation, Proof::IdAndLicensee]),
        prop::option::of(0_u64..4),
        prop::option::of(select(vec![OverLimit::Warn, OverLimit::Deny])),
    );
    let fixed = fixed.prop_map(|(kind, standing, proof, before, over_limit)| Fixed {
        kind,
        standing,
        proof,
        before,
        over_limit,
    });
    (0_u8..4, fixed, hours(), hours(), hours()).prop_map(|(id, fixed, trial, paid, period)| {
        Piece::License { id, fixed, trial, paid, period }
    })
}

fn piece() -> impl Strategy<Value = Piece> {
    let status = select(vec![
        "Subscribed",
        "Subscribed",
        "PendingFulfillmentStart",
        "Suspended",
        "Unsubscribed",
        "New",
    ]);
    let subscription = (0_u8..4, any::<bool>(), status, any::<bool>(), hours(), 0_u8..5).prop_map(
        |(id, plan, word, trial, ends, covered)| Piece::Subscription {
            id,
            plan,
            word,
            trial,
            ends,
            covered,
        },
    );
    let status =
        select(vec!["Enabled", "Enabled", "Warning", "Suspended", "LockedOut", "Deleted", "New"]);
    let word = select(vec!["Active", "ActiveWithError", "Error", "Disabled", "New"]);
    let paths = prop::collection::vec((any::<bool>(), word), 0..3);
    let seat =
        (0_u8..4, 0_u8..3, status, hours(), paths).prop_map(|(id, plan, word, moves_on, paths)| {
            Piece::Seat { id, plan, word, moves_on, paths }
        });
    let word = select(vec!["active", "warning", "suspended", "inactive", "new"]);
    let usage = (word, 0_i64..200).prop_map(|(word, age)| Piece::Usage { word, age });
    prop_oneof![subscription, seat, a_license(), usage]
}

fn subscription(n: u8, word: &str, trial: bool, ends: Option<i64>) -> Subscription {
    Subscription {
        id: SubscriptionId::from_uuid(id(n)),
        publisher: "p".into(),
        offer: "o".into(),
        plan: "s".into(),
        status: SubscriptionStatus::from_word(word),
        quantity: Some(1),
        term_end: ends.map(at),
        free_trial: trial,
        observed_at: at(-3),
        ..samples::subscription(0)
    }
}

fn sku(n: u8, word: &str, moves_on: Option<i64>) -> Sku {
    Sku {
        id: SkuId::from_uuid(id(n)),
        part_number: "SKU".into(),
        status: CapabilityStatus::from_word(word),
        service_plans: Vec::new(),
        units: Units::default(),
        next_lifecycle: moves_on.map(at),
        missing_since: None,
    }
}

/// What evidence borrows.
enum Kept {
    Subscription(Subscription),
    Sku(Sku),
    Id(String),
    Nothing,
}

fn kept(piece: &Piece) -> Kept {
    match piece {
        Piece::Subscription { id, word, trial, ends, .. } => {
            Kept::Subscription(subscription(*id, word, *trial, *ends))
        }
        Piece::Seat { id, word, moves_on, .. } => Kept::Sku(sku(*id, word, *moves_on)),
        Piece::License { id, .. } => Kept::Id(format!("L-{id}")),
        Piece::Usage { .. } => Kept::Nothing,
    }
}

fn evidence<'a>(piece: &Piece, kept: &'a Kept, product: &'a Product) -> Evidence<'a> {
    let seat = SeatUse {
        of: SeatOf::Subscription(SubscriptionId::from_uuid(id(0))),
        quantity: Some(1),
        release_after: SignedDuration::from_hours(9),
        held: None,
    };
    let covers = [
        Covered::Tenant,
        Covered::HoldsSeat(seat),
        Covered::SeatFree(seat),
        Covered::NoneFree,
        Covered::NoUser,
    ];
    match (piece, kept) {
        (Piece::Subscription { plan, covered, .. }, Kept::Subscription(subscription)) => {
            let plan = &product.plans[if *plan { 1 } else { 4 }];
            let covered = covers[usize::from(*covered)];
            Evidence::Subscription(Subscribed { subscription, plan, covered })
        }
        (Piece::Seat { plan, paths, .. }, Kept::Sku(sku)) => {
            let path = |(direct, word): &(bool, &str)| Path {
                via: if *direct {
                    Via::Direct
                } else {
                    Via::Group("11111111-1111-1111-1111-111111111111".parse().unwrap())
                },
                state: PathState::from_word(word),
                error: None,
                disabled_plans: Vec::new(),
            };
            let paths = paths.iter().map(path).collect();
            let licence =
                Licence { sku: sku.id, assigned: true, disabled_plans: Vec::new(), paths };
            let plan = &product.plans[[0, 2, 3][usize::from(*plan)]];
            Evidence::Seat(Seat {
                plan,
                sku,
                found: SkuMatch::Sku,
                licence: Arc::new(licence),
                held_back: false,
            })
        }
        (Piece::License { fixed, trial, paid, period, .. }, Kept::Id(id)) => {
            Evidence::License(License {
                id,
                kind: fixed.kind,
                standing: fixed.standing,
                trial_end: trial.map(at),
                paid_at: paid.map(at),
                period_end: period.map(at),
                users: fixed.before.map(|before| Users { max: 2, before }),
                over_limit: fixed.over_limit,
                seat: None,
                proof: fixed.proof,
                domain: Some("contoso.example"),
            })
        }
        (Piece::Usage { word, age }, _) => Evidence::UsageRight(UsageRight {
            plan: &product.plans[0],
            state: word,
            as_of: at(-age),
        }),
        _ => unreachable!("kept() pairs them"),
    }
}

/// A question with its circumstances.
#[derive(Clone, Debug)]
struct Case {
    pieces: Vec<Piece>,
    host: Host,
    hybrid: HybridMode,
    ages: (Option<i64>, Option<i64>),
    refused: bool,
    cloud: Cloud,
    policy: Policy,
}

fn case() -> impl Strategy<Value = Case> {
    let age = || prop::option::weighted(0.8, 0_i64..120);
    let policy = (any::<bool>(), any::<bool>()).prop_map(|(deny, refuse)| Policy {
        on_stale: if deny { OnStale::Deny } else { OnStale::Grace },
        over_limit: if refuse { OverLimit::Deny } else { OverLimit::Warn },
        ..Policy::default()
    });
    (
        prop::collection::vec(piece(), 0..5),
        select(Host::ALL.to_vec()),
        select(HybridMode::ALL.to_vec()),
        (age(), age()),
        any::<bool>(),
        prop_oneof![4 => Just(Cloud::Public), 1 => Just(Cloud::National)],
        policy,
    )
        .prop_map(|(pieces, host, hybrid, ages, refused, cloud, policy)| Case {
            pieces: (0..).zip(pieces).map(|(n, it)| it.numbered(n)).collect(),
            host,
            hybrid,
            ages,
            refused,
            cloud,
            policy,
        })
}

impl Case {
    fn ask(&self) -> (Decision, Trail) {
        let product = product(self.hybrid);
        let kept: Vec<Kept> = self.pieces.iter().map(kept).collect();
        let pieces = self.pieces.iter().zip(&kept);
        let evidence: Vec<_> = pieces.map(|(it, kept)| evidence(it, kept, &product)).collect();
        let tenant = TenantId::from_uuid(id(7)).unwrap();
        let user = Some(UserId::from_uuid(id(9)));
        let question = Question::of_user(&product, self.host, tenant, user);
        let question = Question { site: Some("https://contoso.example"), ..question };
        let known = |age: Option<i64>, refused| Known {
            last_complete: age.map(|it| at(-it)),
            refused,
            ..Known::default()
        };
        let knowledge = Knowledge {
            subscriptions: known(self.ages.0, false),
            directory: known(self.ages.1, self.refused),
            licenses_forgotten: false,
            cloud: self.cloud,
        };
        let decision = decide(&question, &evidence, &knowledge, &self.policy, now());
        (decision, Trail::new(&question, &evidence, &knowledge, &self.policy, now()))
    }

    fn decide(&self) -> Decision {
        self.ask().0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adding_usable_evidence_never_worsens_an_answer(case in case(), more in piece()) {
        let alone = Case { pieces: vec![more.clone()], ..case.clone() }.decide();
        if !alone.usable {
            return Ok(());
        }
        let before = case.decide();
        let mut both = case.clone();
        both.pieces.push(more.numbered(99));
        let after = both.decide();
        prop_assert!(after.usable);
        prop_assert!(after.state <= before.state && after.state <= alone.state);
    }

    #[test]
    fn the_order_of_evidence_is_irrelevant(case in case(), turn in 0_usize..5) {
        let mut turned = case.clone();
        turned.pieces.reverse();
        let by = turn.min(turned.pieces.len());
        turned.pieces.rotate_left(by);
        prop_assert_eq!(turned.ask(), case.ask());
    }

    #[test]
    fn unknown_never_beats_anything_that_was_found(case in case()) {
        let (decision, trail) = case.ask();
        let counted = trail.steps.iter().filter(|it| it.fate != Fate::Dropped);
        let best = counted.map(|it| it.state).min();
        prop_assert_eq!(decision.source.is_some(), best.is_some());
        if let Some(best) = best {
            prop_assert_eq!(decision.state, best);
        }
    }

    #[test]
    fn validity_never_passes_the_end_of_what_it_rests_on(case in case()) {
        let it = case.decide();
        prop_assert!(it.valid_until >= now());
        let check_s = i64::try_from(it.check_after_s).unwrap();
        prop_assert!(now() + SignedDuration::from_secs(check_s) <= it.valid_until);
        let end = it.grace_end.or(it.period_end);
        if let Some(end) = end.filter(|end| it.usable || *end > now()) {
            prop_assert!(it.valid_until <= end, "{it:?}");
        }
        let day = SignedDuration::from_hours(24);
        prop_assert!(it.valid_until <= now() + day);
        prop_assert!(it.usable || it.valid_until <= now() + SignedDuration::from_mins(5));
    }

    #[test]
    fn usable_is_a_matter_of_the_state_alone(case in case()) {
        let it = case.decide();
        let usable = [State::Active, State::Trial, State::Grace].contains(&it.state);
        prop_assert_eq!(it.usable, usable);
        prop_assert!(it.usable || (it.features.is_empty() && it.notice.is_none() && it.seat.is_none()));
    }

    #[test]
    fn a_channel_that_does_not_speak_here_never_decides(case in case()) {
        let it = case.decide();
        if let Some(channel) = it.source {
            prop_assert!(host::speaks(channel, case.host));
            prop_assert!(host::speaks_in_cloud(channel, case.cloud));
        }
        prop_assert!(it.reason != Reason::HostUnsupported || it.state == State::Unlicensed);
    }

    #[test]
    fn age_only_worsens_an_answer(case in case(), older in 0_i64..200) {
        let age = |it: Option<i64>| it.map(|it| it + older);
        let aged = Case { ages: (age(case.ages.0), age(case.ages.1)), ..case.clone() };
        let (fresh, old) = (case.decide(), aged.decide());
        prop_assert!(old.state >= fresh.state, "{} became {}", fresh.state, old.state);
    }

    #[test]
    fn unlicensed_is_said_only_when_everything_could_be_read(case in case()) {
        let it = case.decide();
        let (subscriptions, directory) = case.ages;
        let speaks = host::speaks(Channel::Saas, case.host) && case.cloud == Cloud::Public;
        let unread = subscriptions.is_none() || directory.is_none() || case.refused;
        if speaks && unread && it.source.is_none() {
            prop_assert_eq!(it.state, State::Unknown);
        }
    }
}
