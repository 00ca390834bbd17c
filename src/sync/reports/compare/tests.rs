//! Each difference, by tables.

use jiff::civil::date;

use super::*;
use crate::domain::{
    Commit, Coverage, DealId, Forecast, HybridMode, Point, Series, SeriesWrite, SkuId, SourceState,
    Tenant,
};

const TENANT: &str = "c0000000-0000-4000-8000-000000000001";
const SKU: &str = "5c000000-0000-4000-8000-000000000001";

fn at(day: &str) -> Timestamp {
    format!("2026-11-{day}T08:00:00Z").parse().unwrap()
}

fn catalog() -> Catalog {
    let plan = |id: &str, channel| Plan {
        service_id: id.parse().unwrap(),
        channel,
        coverage: Coverage::Tenant,
        features: [].into(),
        sku_ids: Vec::new(),
        service_plan_ids: Vec::new(),
        release_after: jiff::SignedDuration::from_hours(720),
    };
    Catalog::new([Product {
        id: "tracker".parse().unwrap(),
        name: "Tracker".into(),
        hybrid: HybridMode::None,
        features: BTreeMap::new(),
        plans: vec![
            plan("v.tracker.gold", Channel::IsvApp),
            plan("v.tracker.cloud", Channel::Saas),
        ],
    }])
}

/// One plan in one tenant, to be compared.
struct Case {
    service_id: &'static str,
    /// Provisioned, assigned, state.
    report: Option<(u64, u64, &'static str)>,
    /// Bought, assigned.
    graph: Option<(u32, u32)>,
    read: bool,
    deals: Vec<(u64, Option<Date>, Option<Date>)>,
    /// Days of November, and what was bought and assigned by then.
    before: Vec<(&'static str, u32, u32)>,
}

impl Case {
    fn new(report: (u64, u64), graph: (u32, u32)) -> Self {
        Self {
            service_id: "v.tracker.gold",
            report: Some((report.0, report.1, "Active")),
            graph: Some(graph),
            read: true,
            deals: Vec::new(),
            before: Vec::new(),
        }
    }

    fn compared(&self) -> Vec<Compared> {
        let tenant: TenantId = TENANT.parse().unwrap();
        let sku: SkuId = SKU.parse().unwrap();
        let mut commit = Commit::default();
        commit.tenants.push(Tenant::heard_of(tenant, Some("Contoso".into())));
        let read = SourceState { last_complete: Some(at("22")), ..SourceState::default() };
        commit.sources.push((SourceKey::REPORTS, read.clone()));
        if self.read {
            commit.sources.push((SourceKey::directory(tenant), read));
        }
        let line = self.report.map(|(provisioned, assigned, state)| ReportedLicence {
            tenant,
            service_id: self.service_id.into(),
            sku_name: "Gold".into(),
            provisioned: Some(provisioned),
            assigned: Some(assigned),
            state: Some(state.into()),
            activated: None,
            product: None,
            reported_at: at("22"),
            origin: ReportOrigin::Import,
        });
        commit.reported.extend(line.map(|it| (tenant, vec![it])));
        for (number, (licences, starts, ends)) in (1..).zip(&self.deals) {
            let deal = Deal {
                id: DealId(number),
                tenant,
                service_id: self.service_id.parse().unwrap(),
                licences: *licences,
                starts: *starts,
                ends: *ends,
                reference: None,
                entered: at("01"),
            };
            commit.deals.push((deal.id, Some(Arc::new(deal))));
        }
        let series =
            self.before.iter().fold(Series::default(), |series, (day, bought, assigned)| {
                series.with(Point { day: day_of(at(day)), bought: *bought, assigned: *assigned })
            });
        commit.series.push(SeriesWrite { tenant, sku, series });
        let seats = self.graph.map(|(bought, consumed)| SeatFigures {
            tenant,
            name: None,
            product: "tracker".parse().unwrap(),
            plan: "gold".into(),
            sku,
            bought,
            consumed,
            assigned: consumed,
            in_error: 0,
            waiting: 0,
            used: 0,
            used_in_week: 0,
            without: Vec::new(),
            next_without: Vec::new(),
            forecast: Forecast::TooSoon,
            growth: None,
        });
        let mirror = Mirror::default().applied(&commit);
        compare(&mirror, &catalog(), seats.as_slice(), date(2026, 11, 22))
    }

    #[track_caller]
    fn differs_by(&self, expected: &[Difference]) {
        let all = self.compared();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].differences, expected);
        let passes = expected.iter().all(|it| *it == Difference::Late);
        assert_eq!(all[0].differs(), !passes);
    }
}

#[test]
fn what_agrees_has_no_difference() {
    let case = Case::new((30, 20), (30, 20));
    case.differs_by(&[]);
    let it = &case.compared()[0];
    assert_eq!(it.product.as_ref().map(ToString::to_string).as_deref(), Some("tracker"));
    assert_eq!(it.name.as_deref(), Some("Contoso"));
    assert_eq!(it.graph, Some(GraphSays { bought: 30, assigned: 20, users: 20, found: true }));
}

#[test]
fn report_and_graph_are_compared_both_ways_and_a_late_report_is_told_from_a_wrong_one() {
    use Difference as D;
    Case::new((40, 20), (30, 20)).differs_by(&[D::MoreReported]);
    Case::new((20, 20), (30, 20)).differs_by(&[D::FewerReported]);
    Case::new((30, 19), (30, 20)).differs_by(&[D::Assigned]);
    Case::new((30, 31), (30, 31)).differs_by(&[D::OverAssigned]);
    let late = Case { before: vec![("20", 40, 15)], ..Case::new((40, 15), (30, 20)) };
    late.differs_by(&[D::Late]);
    Case { before: vec![("20", 41, 15)], ..late }.differs_by(&[D::MoreReported, D::Assigned]);
    let over = Case { report: Some((30, 20, "Suspended")), ..Case::new((0, 0), (30, 20)) };
    over.differs_by(&[D::NotUsable]);
    let other_word = Case { report: Some((30, 20, "PendingX")), ..over };
    other_word.differs_by(&[]);
}

#[test]
fn a_report_from_before_more_seats_were_sold_is_late_for_those_who_got_one_too() {
    use Difference as D;
    // Four seats, all taken; then eight, and two who had waited have one.
    let (sold, both) = (|| Case::new((4, 4), (8, 6)), [D::FewerReported, D::Assigned]);
    let check = |days: &[(&'static str, u32, u32)], expected: &[Difference]| {
        Case { before: days.to_vec(), ..sold() }.differs_by(expected);
    };
    check(&[("21", 4, 4), ("22", 8, 6)], &[D::Late]);
    check(&[("22", 4, 4), ("22", 8, 4), ("22", 8, 6)], &[D::Late]);
    check(&[("18", 4, 4), ("23", 8, 6)], &[D::Late]);
    check(&[("19", 4, 4), ("20", 8, 6)], &[D::Late]);
    check(&[("18", 4, 4), ("19", 8, 6)], &both);
    check(&[("23", 4, 4)], &both);
    check(&[], &both);
    // Seats were sold at noon, the report was made at one, and somebody got his at two.
    Case { before: vec![("21", 4, 4), ("22", 8, 6)], ..Case::new((8, 4), (8, 6)) }
        .differs_by(&[D::Late]);
    Case { before: vec![("21", 4, 4), ("22", 8, 6)], ..Case::new((9, 4), (8, 6)) }
        .differs_by(&[D::MoreReported, D::Assigned]);
}

#[test]
fn what_only_one_side_knows_says_which() {
    use Difference as D;
    let both = || Case::new((30, 20), (30, 20));
    Case { report: None, ..both() }.differs_by(&[D::NotReported]);
    Case { graph: None, ..both() }.differs_by(&[D::NoSku]);
    Case { graph: None, read: false, ..both() }.differs_by(&[D::NotMirrored]);
    Case { graph: None, service_id: "v.other.gold", ..both() }.differs_by(&[D::UnknownPlan]);
    Case { graph: None, service_id: "v.tracker.cloud", ..both() }.differs_by(&[D::OtherChannel]);
    let nothing = Case { report: None, graph: Some((0, 0)), ..both() };
    assert_eq!(nothing.compared(), []);
}

#[test]
fn deals_are_summed_while_their_contracts_run() {
    use Difference as D;
    let day = |day| Some(date(2026, 11, day));
    let both = || Case::new((30, 20), (30, 20));
    Case { deals: vec![(20, None, None), (10, day(1), day(22))], ..both() }.differs_by(&[]);
    let begins = Case { deals: vec![(30, None, None), (10, day(23), None)], ..both() };
    begins.differs_by(&[]);
    Case { deals: vec![(20, None, None), (10, None, day(21))], ..both() }
        .differs_by(&[D::DealDiffers]);
    Case { deals: vec![(30, None, day(21))], ..both() }.differs_by(&[D::DealEnded]);
    let unknown =
        Case { report: None, graph: Some((0, 0)), deals: vec![(5, None, None)], ..both() };
    unknown.differs_by(&[D::DealNotProvisioned]);
    assert_eq!(unknown.compared()[0].dealt, Some(5));
}

#[test]
fn every_difference_says_what_it_probably_means() {
    for it in Difference::ALL {
        assert!(it.meaning().len() > 40, "{it}");
    }
}
