//! Version 1: what tenants permit our app, and what the brake holds of them.

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, moment, time, uuid, word};
use crate::domain::{Access, Grant, HeldBack, Permission, RunId, SkuId, UserId};
use crate::store::StoreError;

/// By name, so that a permission more or less makes no other version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct AccessV1 {
    grants: Vec<(String, String)>,
    since: Option<TimeV1>,
}

impl From<&Access> for AccessV1 {
    fn from(it: &Access) -> Self {
        let grant = |(permission, grant): (Permission, Grant)| {
            (permission.as_str().to_owned(), grant.as_str().to_owned())
        };
        Self { grants: it.all().map(grant).collect(), since: time(it.since) }
    }
}

impl TryFrom<AccessV1> for Access {
    type Error = StoreError;

    fn try_from(it: AccessV1) -> Result<Self, StoreError> {
        let mut access = Self::default().since(moment(it.since)?);
        for (permission, grant) in it.grants {
            let grant = word::<Grant>(&grant)?;
            // One that this program does not work with says nothing to it.
            if let Ok(permission) = permission.parse::<Permission>() {
                access = access.with(permission, grant);
            }
        }
        Ok(access)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct HeldBackV1 {
    run: u64,
    at: TimeV1,
    total: u64,
    users: Vec<(IdV1, Vec<IdV1>)>,
    skus: Vec<IdV1>,
}

impl From<&HeldBack> for HeldBackV1 {
    fn from(it: &HeldBack) -> Self {
        let users = it.users.iter().map(|(sku, users)| {
            (id(sku.as_uuid()), users.iter().map(|it| id(it.as_uuid())).collect())
        });
        Self {
            run: it.run.0,
            at: it.at.into(),
            total: it.total,
            users: users.collect(),
            skus: it.skus.iter().map(|it| id(it.as_uuid())).collect(),
        }
    }
}

impl TryFrom<HeldBackV1> for HeldBack {
    type Error = StoreError;

    fn try_from(it: HeldBackV1) -> Result<Self, StoreError> {
        let sku = |it: IdV1| SkuId::from_uuid(uuid(it));
        let users = it.users.into_iter().map(|(of, users)| {
            (sku(of), users.into_iter().map(|it| UserId::from_uuid(uuid(it))).collect())
        });
        Ok(Self {
            run: RunId(it.run),
            at: it.at.try_into()?,
            total: it.total,
            users: users.collect(),
            skus: it.skus.into_iter().map(sku).collect(),
        })
    }
}
