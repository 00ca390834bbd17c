//! Resource units: what a request costs and when the bucket is empty.
//! Source: graph-licensing.md 8.

use axum::http::Method;

use crate::sandbox::wire::Ask;

/// Window of the quota of one app in one tenant.
const TENANT_WINDOW_MS: f64 = 10_000.0;
/// Window of the quota of one app in all tenants.
const APP_WINDOW_MS: f64 = 20_000.0;
/// Resource units of one app in all tenants in [`APP_WINDOW_MS`].
const APP_QUOTA: f64 = 150_000.0;

/// A bucket that fills with use and leaks with time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    used: f64,
    at_ms: i64,
}

/// What a bucket says to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gauge {
    /// Use as a share of the quota, after the request.
    pub(crate) share: f64,
    /// Seconds to wait, when the request is refused.
    pub(crate) wait_s: Option<u32>,
}

/// What Graph was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GraphUse {
    /// Requests.
    pub requests: u64,
    /// Resource units.
    pub units: u64,
    /// The highest use of the quota over all tenants, as a share of it.
    pub app: f64,
    /// The highest use of a tenant's quota, as a share of it.
    pub tenant: f64,
}

impl GraphUse {
    pub(crate) fn add(&mut self, cost: u32) {
        self.requests = self.requests.saturating_add(1);
        self.units = self.units.saturating_add(u64::from(cost));
    }
}

impl Bucket {
    /// Takes `cost` units at `now_ms` from `quota` units per `window_ms`.
    fn take(&mut self, cost: u32, now_ms: i64, quota: f64, window_ms: f64) -> Gauge {
        let passed = i32::try_from(now_ms.saturating_sub(self.at_ms).max(0)).unwrap_or(i32::MAX);
        let leaked = f64::from(passed) * quota / window_ms;
        // Use counts on while throttled, but not without end.
        self.used = (self.used - leaked).max(0.0).min(quota * 1.8) + f64::from(cost);
        self.at_ms = now_ms;
        let over = self.used - quota;
        let share = self.used / quota;
        if over <= 0.0 {
            return Gauge { share, wait_s: None };
        }
        let wait = (over * window_ms / quota / 1_000.0).ceil().clamp(1.0, 300.0);
        let wait_s = (1..=300).find(|second| f64::from(*second) >= wait);
        Gauge { share, wait_s }
    }

    /// The quota of one app in one tenant of that many users, scaled by `budget`.
    pub(crate) fn tenant(&mut self, cost: u32, now_ms: i64, users: usize, budget: f64) -> Gauge {
        let quota = match users {
            0..50 => 3_500.0,
            50..=500 => 5_000.0,
            _ => 8_000.0,
        };
        self.take(cost, now_ms, quota * budget, TENANT_WINDOW_MS)
    }

    /// The quota of one app in all tenants, scaled by `budget`.
    pub(crate) fn app(&mut self, cost: u32, now_ms: i64, budget: f64) -> Gauge {
        self.take(cost, now_ms, APP_QUOTA * budget, APP_WINDOW_MS)
    }
}

/// Resource units of a request; `path` is below the version.
pub(crate) fn cost(ask: &Ask, path: &[&str]) -> u32 {
    let base = match (&ask.method, path) {
        (&Method::GET, ["users"]) => 2,
        (&Method::GET, ["users", _, "licenseDetails"]) => 2,
        (&Method::GET, ["groups", _, "members", ..]) => 3,
        (&Method::GET, ["groups", _, "transitiveMembers", ..]) => 5,
        (&Method::GET, ["subscribedSkus", ..]) => 3,
        _ => 1,
    };
    let select = u32::from(ask.option("$select").is_some());
    let expand = u32::from(ask.option("$expand").is_some());
    let top = ask.option("$top").and_then(|top| top.parse().ok());
    let small = u32::from(top.is_some_and(|top: u32| top < 20));
    (base + expand).saturating_sub(select + small).max(1)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    #[test]
    fn requests_cost_what_the_table_says() {
        let check = |target: &str, expected: u32| {
            let ask = Ask::new(Method::GET, target, HeaderMap::new(), Vec::new());
            assert_eq!(cost(&ask, &ask.path()), expected, "{target}");
        };
        check("users", 2);
        check("users?$select=id", 1);
        check("users?$select=id&$top=5", 1);
        check("users/delta?$select=id", 1);
        check("groups/x/members", 3);
        check("groups/x/members?%24select=id", 2);
        check("subscribedSkus", 3);
        check("directory/subscriptions", 1);
        check("users/x/licenseDetails", 2);
    }

    #[test]
    fn a_bucket_refuses_over_its_quota_and_leaks() {
        let mut bucket = Bucket::default();
        let mut take = |now_ms| bucket.tenant(1_000, now_ms, 10, 1.0);
        assert_eq!(take(0).wait_s, None);
        assert_eq!(take(0).wait_s, None);
        assert!(take(0).share > 0.8);
        assert_eq!(take(0).wait_s, Some(2));
        assert_eq!(take(4_000).wait_s, Some(1));
        assert_eq!(take(20_000).wait_s, None);
    }
}
