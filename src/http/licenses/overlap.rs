//! Users whom a Microsoft-managed seat and a license of the publisher cover at once, for the same
//! product. One of the two is paid for nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rows::time;
use crate::decision::covers;
use crate::domain::{
    ActivatedBy, Catalog, LicenseUser, Mirror, Policy, Product, ProductId, TenantId, TenantView,
    UserId,
};

/// By what is judged.
#[derive(Clone, Copy)]
pub(in crate::http) struct By<'a> {
    /// The facts.
    pub(in crate::http) mirror: &'a Mirror,
    /// The publisher's products.
    pub(in crate::http) catalog: &'a Catalog,
    /// The publisher's policy.
    pub(in crate::http) policy: &'a Policy,
    /// When.
    pub(in crate::http) now: Timestamp,
}

impl By<'_> {
    /// Hands on a row for each user and product, of one tenant or of all, until `take` has enough.
    ///
    /// # Errors
    ///
    /// That of `take`.
    pub(in crate::http) fn overlaps<E>(
        self,
        wanted: Option<TenantId>,
        take: &mut impl FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let wanted = |it: &TenantView| wanted.is_none_or(|tenant| it.tenant.id == tenant);
        self.mirror.tenants().filter(|it| wanted(it)).try_for_each(|it| self.of_tenant(it, take))
    }

    fn of_tenant<E>(
        self,
        view: &TenantView,
        take: &mut impl FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let products = self.bound(view.tenant.id);
        if products.is_empty() {
            return Ok(());
        }
        let mut users: Vec<UserId> = view.users.iter().map(|(user, _)| user).collect();
        users.sort_unstable();
        for user in users {
            for product in &products {
                if let Some(row) = self.twice(view, user, product) {
                    take(row)?;
                }
            }
        }
        Ok(())
    }

    /// The products that the tenant is bound to a license of. Who typed id and licensee is not known
    /// by name, so nobody can be found twice by those.
    fn bound(&self, tenant: TenantId) -> Vec<&Product> {
        let book = self.mirror.licenses();
        let by_key = book.activations_of_tenant(tenant).filter(|it| it.by != ActivatedBy::Licensee);
        let mut ids: Vec<&ProductId> =
            by_key.filter_map(|it| book.license(it.license)).map(|it| &it.product).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|it| self.catalog.product(it.as_str())).map(|it| &**it).collect()
    }

    /// The user, if a seat and a license both cover him: by the rules that answers are made by.
    fn twice(self, view: &TenantView, user: UserId, product: &Product) -> Option<Value> {
        let tenant = view.tenant.id;
        let it = covers(self.mirror, product, (tenant, user), self.policy, self.now);
        let (seat, license) = it.seat.zip(it.license)?;
        let users = self.mirror.licenses().users(license.id);
        let place = users.and_then(|it| it.seat(LicenseUser::Known(tenant, user)));
        Some(json!({
            "tenant": tenant.to_string(),
            "name": view.tenant.name.as_deref(),
            "user": user.to_string(),
            "product": product.id.as_str(),
            "plan": seat.plan.service_id.plan(),
            "seat_state": seat.state.as_str(),
            "seat_reason": seat.reason.as_str(),
            "seat_until": time(seat.until),
            "seat_observed_at": time(view.directory.last_complete),
            "license": license.id.as_str(),
            "license_state": license.state.as_str(),
            "license_until": time(license.until),
            "place_since": time(place.map(|it| it.taken_at)),
            "place_last_used": time(place.map(|it| it.last_used)),
        }))
    }
}

/// What is paid twice, by customer and product.
#[derive(Default)]
pub(in crate::http) struct PaidTwice(BTreeMap<(String, String), u32>);

impl PaidTwice {
    /// One more user, by his row.
    pub(in crate::http) fn count(&mut self, row: &Value) {
        let text =
            |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let users = self.0.entry((text("tenant"), text("product"))).or_default();
        *users = users.saturating_add(1);
    }

    /// A row for each customer and product; with what a seat costs a month what it comes to.
    pub(in crate::http) fn rows(&self, price: Option<f64>) -> Vec<Value> {
        let cents = |it: f64| (it * 100.0).round() / 100.0;
        let row = |((tenant, product), users): (&(String, String), &u32)| {
            json!({
                "tenant": tenant,
                "product": product,
                "users": users,
                "amount_a_month": price.map(|it| cents(it * f64::from(*users))),
            })
        };
        self.0.iter().map(row).collect()
    }
}
