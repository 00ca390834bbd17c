//! What happens to customers: SKUs bought and lapsing, consent, subscriptions; and to the stand-in
//! itself: faults, time, keys, outages.

use jiff::SignedDuration;
use serde_json::Value;
use uuid::Uuid;

use super::subscription::Subscription;
use super::tenant::{SkuUnits, TenantSku};
use super::{World, WorldError};
use crate::sandbox::chance::Chance;
use crate::sandbox::entra;
use crate::sandbox::faults::Faults;

impl World {
    /// Sells units of a SKU to a tenant, or changes how many; errors for want of units heal.
    ///
    /// # Errors
    /// No such tenant or SKU.
    pub fn sku_units(
        &mut self,
        tenant: Uuid,
        sku: Uuid,
        units: SkuUnits,
    ) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        let lag_s = self.lag_s();
        self.edit(tenant, |tenant, now| {
            if let Some(sku) = tenant.skus.iter_mut().find(|sku| sku.kind == kind) {
                sku.units = units;
            } else {
                let status = "Enabled".to_owned();
                tenant.skus.push(TenantSku {
                    kind,
                    status,
                    units,
                    consumed: 0,
                    trial: false,
                    next_lifecycle_s: None,
                });
                // Assignments may have outlived an earlier purchase.
                tenant.recount();
            }
            let short = tenant.short_of(kind);
            tenant.schedule(short, now.saturating_add(lag_s));
            Ok(())
        })
    }

    /// Moves a SKU to a state (`Enabled`, `Warning`, `Suspended`, `LockedOut`, `Deleted` or any
    /// word); its units follow, users stay assigned and delta says nothing.
    ///
    /// # Errors
    /// No such tenant or SKU.
    pub fn sku_status(&mut self, tenant: Uuid, sku: Uuid, status: &str) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        self.edit(tenant, |tenant, _| {
            let slot = tenant.skus.iter_mut().find(|sku| sku.kind == kind);
            let slot = slot.ok_or(WorldError::Sku(sku))?;
            let (total, none) = (slot.units.total(), SkuUnits::default());
            slot.units = match status {
                "Warning" => SkuUnits { warning: total, ..none },
                "Suspended" => SkuUnits { suspended: total, ..none },
                "LockedOut" => SkuUnits { locked_out: total, ..none },
                "Deleted" => none,
                _ => SkuUnits { enabled: total, ..none },
            };
            status.clone_into(&mut slot.status);
            Ok(())
        })
    }

    /// The state that a SKU is in; `None` if the tenant has none of it.
    pub fn sku_state(&self, tenant: Uuid, sku: Uuid) -> Option<&str> {
        let kind = self.kind(sku).ok()?;
        let slot = self.tenant(tenant)?.skus.iter().find(|it| it.kind == kind)?;
        Some(&slot.status)
    }

    /// When the subscription behind a SKU says that it will move on; nothing moves by itself.
    ///
    /// # Errors
    /// No such tenant or SKU.
    pub fn sku_lifecycle(
        &mut self,
        tenant: Uuid,
        sku: Uuid,
        at: jiff::Timestamp,
    ) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        self.edit(tenant, |tenant, _| {
            let slot = tenant.skus.iter_mut().find(|sku| sku.kind == kind);
            slot.ok_or(WorldError::Sku(sku))?.next_lifecycle_s = Some(at.as_second());
            Ok(())
        })
    }

    /// Takes a SKU out of `subscribedSkus`; users keep their (now dangling) assignments.
    ///
    /// # Errors
    /// No such tenant or SKU.
    pub fn sku_remove(&mut self, tenant: Uuid, sku: Uuid) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        self.edit(tenant, |tenant, _| {
            let before = tenant.skus.len();
            tenant.skus.retain(|sku| sku.kind != kind);
            if tenant.skus.len() < before { Ok(()) } else { Err(WorldError::Sku(sku)) }
        })
    }

    /// Sets the tenant's consent: the roles of new tokens, or `None` to remove our app. Tokens that
    /// are out lose what was taken away at once, and gain nothing.
    ///
    /// # Errors
    /// No such tenant.
    pub fn consent(&mut self, tenant: Uuid, roles: Option<Vec<String>>) -> Result<(), WorldError> {
        self.edit(tenant, |tenant, _| {
            tenant.consent = roles;
            Ok(())
        })
    }

    /// The tenant lives in a government's cloud: the public one gives no token for it, and its
    /// metadata say where it is.
    ///
    /// # Errors
    /// No such tenant, or no code that says so.
    pub fn nationalize(&mut self, tenant: Uuid, code: u32) -> Result<(), WorldError> {
        if !entra::says_elsewhere(code) {
            return Err(WorldError::Word(code.to_string(), "AADSTS code of another cloud"));
        }
        self.edit(tenant, |tenant, _| {
            tenant.national = Some(code);
            Ok(())
        })
    }

    /// Whether a tenant lets our app read whom it has.
    pub fn lets_us_in(&self, tenant: Uuid) -> bool {
        let roles = self.tenant(tenant).and_then(|it| it.consent.as_ref());
        roles.is_some_and(|it| !it.is_empty())
    }

    /// Adds or replaces a subscription; the text is returned byte by byte.
    ///
    /// # Errors
    /// The text is no JSON object with an `id`.
    pub fn upsert_subscription(&mut self, text: &str) -> Result<Uuid, WorldError> {
        let value: Value = serde_json::from_str(text).ok().ok_or(WorldError::Subscription)?;
        let id = value.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id = id.ok_or(WorldError::Subscription)?;
        self.shelf.put(id, text.trim().to_owned());
        Ok(id)
    }

    /// Adds or replaces a subscription.
    pub fn put_subscription(&mut self, subscription: &Subscription) {
        if let Ok(text) = serde_json::to_string(subscription) {
            self.shelf.put(subscription.id, text);
        }
    }

    /// A subscription of the sandbox's own making, to change and put back.
    pub fn subscription(&self, id: Uuid) -> Option<Subscription> {
        serde_json::from_str(self.shelf.one(id)?).ok()
    }

    /// Empties the marketplace, to replay another listing.
    pub fn clear_subscriptions(&mut self) {
        self.shelf.clear();
    }

    /// Sets what goes wrong from now on; the draws start anew.
    pub fn set_faults(&mut self, faults: Faults) {
        self.fate = Chance::new(faults.seed);
        self.faults = faults;
    }

    /// Moves the sandbox's time relative to its clock.
    pub fn advance_clock(&mut self, by: SignedDuration) {
        self.offset = self.offset.saturating_add(by);
    }

    /// A new key signs from now on; the last one stays published.
    ///
    /// # Errors
    /// No key could be made.
    pub fn rotate_keys(&mut self) -> Result<(), WorldError> {
        self.keys.rotate().ok().ok_or(WorldError::Key)
    }

    /// Everything but the control route answers 503.
    pub fn outage(&mut self, on: bool) {
        self.out = on;
    }
}
