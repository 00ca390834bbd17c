//! Deal-registered licences, entered by hand: Partner Center has no API for them.

use std::sync::Arc;

use jiff::civil::Date;
use uuid::Uuid;

use super::SyncHandle;
use crate::domain::{Cause, Commit, Deal, DealId, Mirror, ServiceId, TenantId};
use crate::store::StoreError;

/// A deal as an operator enters it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealWish {
    /// The customer's tenant.
    pub tenant: TenantId,
    /// The plan.
    pub service_id: ServiceId,
    /// How many licences, in all.
    pub licences: u64,
    /// The contract's first day.
    pub starts: Option<Date>,
    /// The contract's last day.
    pub ends: Option<Date>,
    /// Where it stands, such as the deal's number in Partner Center.
    pub source: Arc<str>,
}

/// What became of a deal that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Added,
    /// One of the same tenant, plan and source said something else.
    Changed,
    /// It was entered before.
    Known,
}

impl Put {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Known => "known",
        }
    }
}

impl SyncHandle {
    /// Enters a deal. One of the same tenant, plan and source takes its terms: as in Partner Center,
    /// the number is the new total.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was written.
    pub async fn put_deal(
        &self,
        wish: DealWish,
        by: Cause,
    ) -> Result<(Arc<Deal>, Put), StoreError> {
        let _turn = self.sources.reports.take().await;
        let (mirror, now) = (self.sources.store.snapshot(), (self.sources.clock)());
        let known = mirror.deals().find(|it| {
            it.tenant == wish.tenant
                && it.service_id == wish.service_id
                && it.reference.as_deref() == Some(&*wish.source)
        });
        let deal = Deal {
            id: known.map_or_else(|| free_id(&mirror), |it| it.id),
            tenant: wish.tenant,
            service_id: wish.service_id,
            licences: wish.licences,
            starts: wish.starts,
            ends: wish.ends,
            reference: Some(wish.source),
            entered: known.map_or(now, |it| it.entered),
        };
        if let Some(known) = known.filter(|it| ***it == deal) {
            return Ok((Arc::clone(known), Put::Known));
        }
        let put = if known.is_some() { Put::Changed } else { Put::Added };
        let deal = Arc::new(deal);
        let changes =
            Deal::change(now, by, known.map(|it| &**it), Some(&deal)).into_iter().collect();
        let deals = vec![(deal.id, Some(Arc::clone(&deal)))];
        self.sources.store.commit(Commit { deals, changes, ..Commit::default() }).await?;
        Ok((deal, put))
    }

    /// Removes a deal; `None` when there is none of this number.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was written.
    pub async fn remove_deal(
        &self,
        id: DealId,
        by: Cause,
    ) -> Result<Option<Arc<Deal>>, StoreError> {
        let _turn = self.sources.reports.take().await;
        let mirror = self.sources.store.snapshot();
        let Some(deal) = mirror.deal(id) else { return Ok(None) };
        let now = (self.sources.clock)();
        let changes = Deal::change(now, by, Some(deal), None).into_iter().collect();
        let deals = vec![(id, None)];
        self.sources.store.commit(Commit { deals, changes, ..Commit::default() }).await?;
        Ok(Some(Arc::clone(deal)))
    }
}

/// A number that no deal has.
fn free_id(mirror: &Mirror) -> DealId {
    loop {
        let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
        let id = DealId(u32::from_be_bytes([a, b, c, d]));
        if mirror.deal(id).is_none() {
            return id;
        }
    }
}
