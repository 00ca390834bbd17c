//! How many seats of a SKU were bought and assigned, day by day, and when they will run out at the
//! present rate.

use super::uses::Day;
use super::{SkuId, TenantId};

/// How long the days are kept.
pub const SERIES_KEPT: Day = 90;

/// How far back the present rate looks.
const LOOK_BACK: Day = 28;

/// Fewer days than this say nothing about a rate.
const RATE_NEEDS: Day = 7;

/// One day's figures; they stand until the next point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Which day.
    pub day: Day,
    /// Seats that may be assigned: enabled and in Microsoft's grace.
    pub bought: u32,
    /// Seats assigned.
    pub assigned: u32,
}

/// The least and the most of a count.
pub type Between = (u32, u32);

/// The last 90 days of a SKU in a tenant, and whether its shortage has been told.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Series {
    /// By day, ascending; a day like the one before it has no point.
    points: Vec<Point>,
    /// Whether the publisher's own systems were told that seats are short.
    pub told_short: bool,
}

/// A series, in place of the one before; an empty one removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesWrite {
    /// Where.
    pub tenant: TenantId,
    /// Of what.
    pub sku: SkuId,
    /// The series.
    pub series: Series,
}

/// How the number of assigned seats moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Known for fewer than seven days.
    TooSoon,
    /// It does not grow, or not before what can be foreseen.
    Enough,
    /// All seats are assigned, or more than there are.
    Out,
    /// At the rate of the last four weeks the last free seat goes on this day.
    RunsOut(Day),
}

impl Forecast {
    /// The word that programs rely on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooSoon => "too_soon",
            Self::Enough => "enough",
            Self::Out => "out",
            Self::RunsOut(_) => "runs_out",
        }
    }

    /// The day on which the last free seat goes.
    pub const fn runs_out(self) -> Option<Day> {
        match self {
            Self::RunsOut(day) => Some(day),
            Self::TooSoon | Self::Enough | Self::Out => None,
        }
    }
}

impl Series {
    /// A series of these points.
    pub fn new(points: Vec<Point>, told_short: bool) -> Self {
        Self { points, told_short }
    }

    /// The points, by day.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// With the figures of a day, the last of which count; without what is too old. Of the first day
    /// of all the first ones stay too: no day before says what it began with.
    #[must_use]
    pub fn with(&self, point: Point) -> Self {
        let mut points = self.points.clone();
        let mut before = 0_usize;
        points.retain(|it| {
            before += 1;
            it.day < point.day || before == 1 && it.day == point.day
        });
        let same = |it: &Point| (it.bought, it.assigned) == (point.bought, point.assigned);
        if !points.last().is_some_and(same) {
            points.push(point);
        }
        // The one that stands at the first day that counts stays.
        let first = point.day.saturating_sub(SERIES_KEPT);
        let old = points.iter().filter(|it| it.day <= first).count().saturating_sub(1);
        points.drain(..old);
        Self { points, told_short: self.told_short }
    }

    /// The same days, with whether their shortage has been told.
    #[must_use]
    pub fn told(&self, short: bool) -> Self {
        Self { points: self.points.clone(), told_short: short }
    }

    /// Whether more seats were bought today than there were the day before.
    pub fn grew(&self, today: Day) -> bool {
        let on = |day| self.on(day).map(|it| it.bought);
        today.checked_sub(1).and_then(on).zip(on(today)).is_some_and(|(then, now)| now > then)
    }

    /// The figures that stood on a day.
    pub fn on(&self, day: Day) -> Option<Point> {
        self.points.iter().rev().find(|it| it.day <= day).copied()
    }

    /// The least and the most of seats bought, and of seats assigned, from one day to another: what
    /// stood on the first and whatever came after. `None` before the first point.
    pub fn between(&self, from: Day, to: Day) -> Option<(Between, Between)> {
        let within = |it: &&Point| (from..=to).contains(&it.day);
        let points = || self.points.iter().filter(within).copied().chain(self.on(from));
        let between = |count: fn(&Point) -> u32| {
            let counts = || points().map(|it| count(&it));
            Some((counts().min()?, counts().max()?))
        };
        between(|it| it.bought).zip(between(|it| it.assigned))
    }

    /// Seats by which the assigned ones grew in the last four weeks, and in how many days that was.
    pub fn growth(&self, today: Day) -> Option<(i64, Day)> {
        let now = self.on(today)?;
        let from = self.points.first()?.day.max(today.saturating_sub(LOOK_BACK));
        let then = self.on(from)?;
        Some((i64::from(now.assigned) - i64::from(then.assigned), today.saturating_sub(from)))
    }

    /// When the seats will run out.
    pub fn forecast(&self, today: Day) -> Forecast {
        let Some(now) = self.on(today) else { return Forecast::TooSoon };
        let free = now.bought.saturating_sub(now.assigned);
        if free == 0 && now.assigned > 0 {
            return Forecast::Out;
        }
        match self.growth(today) {
            None => Forecast::TooSoon,
            Some((_, days)) if days < RATE_NEEDS => Forecast::TooSoon,
            Some((grown, _)) if grown <= 0 => Forecast::Enough,
            Some((grown, days)) => {
                let left = i64::from(free).saturating_mul(days.into()) / grown;
                let day = Day::try_from(left).ok().and_then(|left| today.checked_add(left));
                // Beyond a year the rate of four weeks says nothing.
                let near = day.filter(|day| day - today <= 366);
                near.map_or(Forecast::Enough, Forecast::RunsOut)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(Day, u32, u32)]) -> Series {
        points.iter().fold(Series::default(), |series, (day, bought, assigned)| {
            series.with(Point { day: *day, bought: *bought, assigned: *assigned })
        })
    }

    #[test]
    fn a_day_like_the_one_before_has_no_point_and_old_ones_go() {
        let it = series(&[(10, 50, 5), (11, 50, 5), (12, 50, 6), (12, 50, 7), (13, 50, 7)]);
        let days: Vec<_> = it.points().iter().map(|it| (it.day, it.assigned)).collect();
        assert_eq!(days, [(10, 5), (12, 7)]);
        assert_eq!(it.on(11).map(|it| it.assigned), Some(5));
        assert_eq!(it.on(9), None);
        let later = it.with(Point { day: 140, bought: 50, assigned: 9 });
        let days: Vec<_> = later.points().iter().map(|it| it.day).collect();
        assert_eq!(days, [12, 140]);
        let there_and_back = series(&[(10, 50, 5), (12, 50, 6), (12, 50, 5)]);
        assert_eq!(there_and_back.points().len(), 1);
        let first_day = series(&[(10, 4, 4), (10, 8, 5), (10, 8, 6)]);
        assert_eq!(
            (first_day.points().len(), first_day.on(10).map(|it| it.assigned)),
            (2, Some(6))
        );
    }

    #[test]
    fn between_two_days_there_is_a_least_and_a_most() {
        let check = |points: &[(Day, u32, u32)], expected| {
            assert_eq!(series(points).between(10, 13), expected, "{points:?}");
        };
        check(&[], None);
        check(&[(14, 4, 4)], None);
        check(&[(2, 4, 3)], Some(((4, 4), (3, 3))));
        check(&[(2, 9, 9), (8, 4, 3), (12, 8, 5), (14, 20, 20)], Some(((4, 8), (3, 5))));
        check(&[(13, 4, 4), (13, 8, 6)], Some(((4, 8), (4, 6))));
    }

    #[test]
    fn seats_run_out_at_the_rate_of_four_weeks() {
        let check = |points: &[(Day, u32, u32)], today, wanted| {
            assert_eq!(series(points).forecast(today), wanted, "{points:?}");
        };
        check(&[], 10, Forecast::TooSoon);
        check(&[(10, 50, 5)], 12, Forecast::TooSoon);
        check(&[(10, 50, 5)], 40, Forecast::Enough);
        check(&[(10, 50, 50)], 12, Forecast::Out);
        check(&[(10, 50, 51)], 40, Forecast::Out);
        check(&[(10, 0, 0)], 40, Forecast::Enough);
        // 20 in 20 days, 10 are left.
        check(&[(10, 50, 20), (30, 50, 40)], 30, Forecast::RunsOut(40));
        // Only the last 28 days count: then it stood at 20.
        check(&[(10, 50, 10), (20, 50, 20), (58, 50, 34)], 58, Forecast::RunsOut(58 + 32));
        check(&[(10, 50, 40), (30, 50, 20)], 30, Forecast::Enough);
        check(&[(10, 9_000, 1), (38, 9_000, 2)], 38, Forecast::Enough);
    }
}
