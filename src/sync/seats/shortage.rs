//! Which shortages of seats the publisher's own systems are told of, each once. Pure.
//!
//! A shortage begins when somebody is without a seat, or when seats will run out within two weeks. It
//! is over when nobody is and seats last for four weeks, or more were bought; so a figure that goes
//! up and down by a seat is told once. That it was told is written with the event, in one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::SeatFigures;
use crate::domain::{
    Commit, Day, Forecast, Mirror, Notice, Series, SeriesWrite, Shortage, SkuId, TenantId,
};

/// How near the day is on which seats run out when it is told.
const SOON: Day = 14;
/// How far it must be for the shortage to be over.
const FAR: Day = 28;
/// So many shortages are told of in one commit.
const AT_ONCE: usize = 200;

/// What is to be told, and what is over.
pub(super) fn told(
    mirror: &Mirror,
    figures: &[SeatFigures],
    today: Day,
    now: Timestamp,
) -> Vec<Commit> {
    let mut by_sku: BTreeMap<(TenantId, SkuId), Vec<&SeatFigures>> = BTreeMap::new();
    for it in figures {
        by_sku.entry((it.tenant, it.sku)).or_default().push(it);
    }
    let steps = mirror.all_series().filter_map(|(tenant, sku, series)| {
        let figures = by_sku.get(&(tenant, sku)).map_or(&[][..], |it| it);
        let short = is_short(series, figures, today);
        (short != series.told_short).then(|| {
            let begun = figures.iter().filter(|it| short && begins(it, today));
            let notices: Vec<Notice> =
                begun.map(|it| Notice::seats_short(shortage(it), now)).collect();
            (SeriesWrite { tenant, sku, series: series.told(short) }, notices)
        })
    });
    let steps: Vec<_> = steps.collect();
    let commit = |steps: &[(SeriesWrite, Vec<Notice>)]| Commit {
        series: steps.iter().map(|(series, _)| series.clone()).collect(),
        notices: steps.iter().flat_map(|(_, notices)| notices.clone()).collect(),
        ..Commit::default()
    };
    steps.chunks(AT_ONCE).map(commit).collect()
}

/// Whether there is a shortage, the one that was told included until it is over. What is no longer
/// counted is short of nothing.
fn is_short(series: &Series, figures: &[&SeatFigures], today: Day) -> bool {
    let goes_on = |it: &&SeatFigures| match it.forecast {
        Forecast::Out => !series.grew(today),
        Forecast::RunsOut(day) => day.saturating_sub(today) <= FAR,
        Forecast::Enough | Forecast::TooSoon => false,
    };
    let any = |what: &dyn Fn(&&SeatFigures) -> bool| figures.iter().any(what);
    any(&|it| begins(it, today)) || series.told_short && any(&goes_on)
}

/// Whether it is to be told of. That every seat is assigned is no shortage by itself.
fn begins(it: &SeatFigures, today: Day) -> bool {
    it.is_short() || it.forecast.runs_out().is_some_and(|day| day.saturating_sub(today) <= SOON)
}

fn shortage(it: &SeatFigures) -> Shortage {
    Shortage {
        tenant: it.tenant,
        product: it.product.clone(),
        plan: Arc::clone(&it.plan),
        sku: it.sku,
        now: it.is_short(),
        bought: it.bought,
        consumed: it.consumed,
        used: it.used,
        forecast: it.forecast,
        without: it.without.clone(),
        next_without: it.next_without.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Point, UserId};
    use uuid::Uuid;

    const TODAY: Day = 100;

    fn key() -> (TenantId, SkuId) {
        (TenantId::from_uuid(Uuid::from_u128(1)).unwrap(), SkuId::from_uuid(Uuid::from_u128(2)))
    }

    fn figures(product: &str, forecast: Forecast, without: usize) -> SeatFigures {
        let (tenant, sku) = key();
        SeatFigures {
            tenant,
            name: Some("Contoso".into()),
            product: product.parse().unwrap(),
            plan: "team".into(),
            sku,
            bought: 10,
            consumed: 10,
            assigned: 10,
            in_error: 0,
            waiting: 0,
            used: 3,
            used_in_week: 2,
            without: vec![UserId::from_uuid(Uuid::from_u128(9)); without],
            next_without: Vec::new(),
            forecast,
            growth: None,
        }
    }

    /// A mirror with the days of the SKU: seats bought the day before, and today.
    fn mirror(told: bool, bought: (u32, u32)) -> Mirror {
        let (tenant, sku) = key();
        let point = |day, bought| Point { day, bought, assigned: 10 };
        let points = vec![point(TODAY - 9, bought.0), point(TODAY, bought.1)];
        let series = SeriesWrite { tenant, sku, series: Series::new(points, told) };
        Mirror::default().applied(&Commit { series: vec![series], ..Commit::default() })
    }

    /// How many events, and whether it counts as told after it.
    fn after(told_before: bool, bought: (u32, u32), all: &[SeatFigures]) -> (usize, bool) {
        let before = mirror(told_before, bought);
        let commits = told(&before, all, TODAY, Timestamp::UNIX_EPOCH);
        let events = commits.iter().map(|it| it.notices.len()).sum();
        let next = commits.iter().fold(before, |mirror, it| mirror.applied(it));
        let (tenant, sku) = key();
        assert_eq!(next.series(tenant, sku).unwrap().points().len(), 2, "the days stay");
        assert!(told(&next, all, TODAY, Timestamp::UNIX_EPOCH).is_empty(), "once");
        (events, next.series(tenant, sku).unwrap().told_short)
    }

    #[test]
    fn a_shortage_is_told_once_and_again_only_after_it_was_over() {
        use Forecast::{Enough, Out, RunsOut, TooSoon};
        let same = (10, 10);
        let check = |forecast, without, untold: (usize, bool), told: (usize, bool)| {
            let all = [figures("panel", forecast, without)];
            assert_eq!(after(false, same, &all), untold, "{forecast:?} {without}");
            assert_eq!(after(true, same, &all), told, "{forecast:?} {without}");
        };
        let (begins, goes_on, over, nothing) = ((1, true), (0, true), (0, false), (0, false));
        check(Out, 1, begins, goes_on);
        check(TooSoon, 1, begins, goes_on);
        check(RunsOut(TODAY + 14), 0, begins, goes_on);
        check(RunsOut(TODAY), 0, begins, goes_on);
        check(RunsOut(TODAY + 15), 0, nothing, goes_on);
        check(RunsOut(TODAY + 29), 0, nothing, over);
        check(Out, 0, nothing, goes_on);
        check(Enough, 0, nothing, over);
        check(TooSoon, 0, nothing, over);
    }

    #[test]
    fn who_buys_more_and_assigns_all_of_it_is_no_longer_short() {
        let all = [figures("panel", Forecast::Out, 0)];
        assert_eq!(after(true, (9, 10), &all), (0, false));
        assert_eq!(after(true, (11, 10), &all), (0, true), "fewer");
        let all = [figures("panel", Forecast::Out, 1)];
        assert_eq!(after(true, (9, 10), &all), (0, true), "not enough");
    }

    #[test]
    fn each_plan_that_the_sku_is_has_its_event_and_what_is_gone_is_over() {
        let all = [figures("panel", Forecast::Out, 1), figures("suite", Forecast::Out, 1)];
        assert_eq!(after(false, (10, 10), &all), (2, true));
        assert_eq!(after(true, (10, 10), &[]), (0, false));
        assert_eq!(after(false, (10, 10), &[]), (0, false));
    }
}
