//! What a round over a tenant asks of Microsoft: the seam at which a simulation takes Graph's
//! place.

use jiff::Timestamp;

use crate::domain::{Cloud, GroupId, Sku, SkuId, TenantId, UserId};
use crate::microsoft::{
    BatchMiss, DeltaFrom, DeltaPage, Graph, GroupRow, Link, Meter, MicrosoftError, Organization,
    Page, Read, UserRow,
};

type Answer<T> = Result<T, MicrosoftError>;

/// The reads that a tenant's directory is mirrored by. What each means and how it fails is
/// documented at [`Graph`].
pub(super) trait DirectoryReads: Sync {
    fn organization(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> impl Future<Output = Answer<Organization>> + Send;

    fn cloud(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> impl Future<Output = Answer<Option<Cloud>>> + Send;

    fn subscribed_skus(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> impl Future<Output = Answer<Vec<Read<Sku>>>> + Send;

    fn lifecycles(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> impl Future<Output = Answer<Vec<(SkuId, Timestamp)>>> + Send;

    fn delta_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        from: DeltaFrom<'_>,
    ) -> impl Future<Output = Answer<DeltaPage>> + Send;

    fn users_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        next: Option<&Link>,
    ) -> impl Future<Output = Answer<Page<UserRow>>> + Send;

    fn assignment_states(
        &self,
        meter: &Meter,
        tenant: TenantId,
        users: &[UserId],
    ) -> impl Future<Output = Answer<Vec<(UserId, Result<UserRow, BatchMiss>)>>> + Send;
}

/// The reads that a tenant's groups are mirrored by; as [`DirectoryReads`].
pub(super) trait GroupReads: Sync {
    fn licensed_groups(
        &self,
        meter: &Meter,
        tenant: TenantId,
        sku: SkuId,
    ) -> impl Future<Output = Answer<Vec<Read<GroupRow>>>> + Send;

    fn groups_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        groups: &[GroupId],
        from: DeltaFrom<'_>,
    ) -> impl Future<Output = Answer<DeltaPage<GroupRow>>> + Send;
}

impl GroupReads for Graph {
    async fn licensed_groups(
        &self,
        meter: &Meter,
        tenant: TenantId,
        sku: SkuId,
    ) -> Answer<Vec<Read<GroupRow>>> {
        Self::licensed_groups(self, meter, tenant, sku).await
    }

    async fn groups_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        groups: &[GroupId],
        from: DeltaFrom<'_>,
    ) -> Answer<DeltaPage<GroupRow>> {
        Self::groups_page(self, meter, tenant, groups, from).await
    }
}

impl DirectoryReads for Graph {
    async fn organization(&self, meter: &Meter, tenant: TenantId) -> Answer<Organization> {
        Self::organization(self, meter, tenant).await
    }

    async fn cloud(&self, meter: &Meter, tenant: TenantId) -> Answer<Option<Cloud>> {
        Self::cloud(self, meter, tenant).await
    }

    async fn subscribed_skus(&self, meter: &Meter, tenant: TenantId) -> Answer<Vec<Read<Sku>>> {
        Self::subscribed_skus(self, meter, tenant).await
    }

    async fn lifecycles(&self, meter: &Meter, tenant: TenantId) -> Answer<Vec<(SkuId, Timestamp)>> {
        Self::lifecycles(self, meter, tenant).await
    }

    async fn delta_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        from: DeltaFrom<'_>,
    ) -> Answer<DeltaPage> {
        Self::delta_page(self, meter, tenant, from).await
    }

    async fn users_page(
        &self,
        meter: &Meter,
        tenant: TenantId,
        next: Option<&Link>,
    ) -> Answer<Page<UserRow>> {
        Self::users_page(self, meter, tenant, next).await
    }

    async fn assignment_states(
        &self,
        meter: &Meter,
        tenant: TenantId,
        users: &[UserId],
    ) -> Answer<Vec<(UserId, Result<UserRow, BatchMiss>)>> {
        Self::assignment_states(self, meter, tenant, users).await
    }
}
