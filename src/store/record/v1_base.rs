//! Version 1: what the other records are made of.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

use crate::domain::{SourceKey, TenantId};
use crate::store::StoreError;

/// A moment: seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct TimeV1(i64, i32);

impl From<Timestamp> for TimeV1 {
    fn from(it: Timestamp) -> Self {
        Self(it.as_second(), it.subsec_nanosecond())
    }
}

impl TryFrom<TimeV1> for Timestamp {
    type Error = StoreError;

    fn try_from(TimeV1(second, nanosecond): TimeV1) -> Result<Self, StoreError> {
        Self::new(second, nanosecond).map_err(|_range| StoreError::damaged("a moment out of range"))
    }
}

pub(super) fn time(it: Option<Timestamp>) -> Option<TimeV1> {
    it.map(TimeV1::from)
}

pub(super) fn moment(it: Option<TimeV1>) -> Result<Option<Timestamp>, StoreError> {
    it.map(Timestamp::try_from).transpose()
}

/// A length of time: seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SpanV1(i64, i32);

impl From<SignedDuration> for SpanV1 {
    fn from(it: SignedDuration) -> Self {
        Self(it.as_secs(), it.subsec_nanos())
    }
}

impl From<SpanV1> for SignedDuration {
    fn from(SpanV1(seconds, nanoseconds): SpanV1) -> Self {
        Self::from_secs(seconds).saturating_add(Self::from_nanos(nanoseconds.into()))
    }
}

/// 128 bits.
pub(super) type IdV1 = [u8; 16];

pub(super) fn id(it: Uuid) -> IdV1 {
    it.into_bytes()
}

pub(super) fn uuid(it: IdV1) -> Uuid {
    Uuid::from_bytes(it)
}

pub(super) fn tenant(it: IdV1) -> Result<TenantId, StoreError> {
    TenantId::from_uuid(uuid(it)).ok_or_else(|| StoreError::damaged("a tenant id that is none"))
}

pub(super) fn tenant_option(it: Option<IdV1>) -> Result<Option<TenantId>, StoreError> {
    it.map(tenant).transpose()
}

/// One of the contract's words.
pub(super) fn word<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_unknown| StoreError::damaged("a word that no list knows"))
}

pub(super) fn text(it: &Arc<str>) -> String {
    it.as_ref().to_owned()
}

pub(super) fn text_option(it: Option<&Arc<str>>) -> Option<String> {
    it.map(text)
}

pub(super) fn shared(it: Option<String>) -> Option<Arc<str>> {
    it.map(Arc::from)
}

/// A source and its scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SourceKeyV1 {
    source: String,
    tenant: Option<IdV1>,
}

impl From<SourceKey> for SourceKeyV1 {
    fn from(it: SourceKey) -> Self {
        Self { source: it.source.as_str().to_owned(), tenant: it.tenant.map(|it| id(it.as_uuid())) }
    }
}

impl TryFrom<SourceKeyV1> for SourceKey {
    type Error = StoreError;

    fn try_from(it: SourceKeyV1) -> Result<Self, StoreError> {
        Ok(Self { source: word(&it.source)?, tenant: tenant_option(it.tenant)? })
    }
}
