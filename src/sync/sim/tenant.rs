//! A tenant as Microsoft sees it, and what may happen in it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::chance::Chance;
use crate::domain::{
    CapabilityStatus, GroupId, Licence, Path, PathState, Sku, SkuId, TenantId, Units, UserId,
    UserLicences, Via,
};
use crate::microsoft::{AssignedLicence, Removed, UserRow};

/// SKUs of ours; the one after them is somebody else's.
pub(super) const OURS: u8 = 2;
const SKUS: u8 = 3;
const USERS: u8 = 12;
const GROUPS: u8 = 2;

pub(super) fn tenant_id(tenant: usize) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(0x7e << 64 | tenant as u128 + 1)).unwrap()
}

pub(super) fn user_id(user: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x05e7 << 64 | u128::from(user) + 1))
}

pub(super) fn sku_id(sku: u8) -> SkuId {
    SkuId::from_uuid(Uuid::from_u128(0x5c << 64 | u128::from(sku) + 1))
}

fn group_id(group: u8) -> GroupId {
    GroupId::from_uuid(Uuid::from_u128(0x96 << 64 | u128::from(group) + 1))
}

#[derive(Clone, Debug, Default)]
struct User {
    deleted: bool,
    direct: BTreeSet<u8>,
    /// Groups whose licence of a SKU failed for him.
    failed: BTreeSet<(u8, u8)>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    members: BTreeSet<u8>,
    skus: BTreeSet<u8>,
}

/// A tenant as Microsoft sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenant {
    users: BTreeMap<u8, User>,
    groups: BTreeMap<u8, Group>,
    skus: BTreeMap<u8, CapabilityStatus>,
    /// When each user last changed in a way that delta tells, and what he holds as delta sees it.
    told: BTreeMap<u8, (u64, Option<BTreeSet<u8>>)>,
    pub(super) now: u64,
    pub(super) refuses: bool,
    /// Cursors issued before this are dead.
    pub(super) oldest: u64,
}

impl Tenant {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let mut tenant = Self::default();
        for sku in 0..SKUS {
            if !chance.once_in(4) {
                tenant.skus.insert(sku, CapabilityStatus::Enabled);
            }
        }
        for group in 0..GROUPS {
            tenant.groups.insert(group, Group::default());
        }
        for _ in 0..chance.below(24) {
            tenant.happen(chance);
        }
        tenant.refuses = false;
        tenant
    }

    /// Something happens.
    pub(super) fn happen(&mut self, chance: &mut Chance) {
        let user = u8::try_from(chance.below(usize::from(USERS))).unwrap();
        let group = u8::try_from(chance.below(usize::from(GROUPS))).unwrap();
        let sku = u8::try_from(chance.below(usize::from(SKUS))).unwrap();
        let listed = self.skus.contains_key(&sku);
        let there = self.users.get(&user).is_some_and(|it| !it.deleted);
        let of = |it: &mut Self| std::mem::take(it.users.entry(user).or_default());
        match chance.below(20) {
            0..6 if listed => {
                let mut it = of(self);
                it.deleted = false;
                it.direct.insert(sku);
                self.users.insert(user, it);
            }
            6..8 if there => drop(self.users.get_mut(&user).map(|it| it.direct.remove(&sku))),
            8..11 if there => {
                self.groups.get_mut(&group).unwrap().members.insert(user);
            }
            11 => drop(self.groups.get_mut(&group).unwrap().members.remove(&user)),
            12 if listed => drop(self.groups.get_mut(&group).unwrap().skus.insert(sku)),
            13 => drop(self.groups.get_mut(&group).unwrap().skus.remove(&sku)),
            14 if there => {
                let failed = &mut self.users.get_mut(&user).unwrap().failed;
                if !failed.remove(&(group, sku)) {
                    failed.insert((group, sku));
                }
            }
            15 => drop(self.users.get_mut(&user).map(|it| it.deleted = true)),
            16 => drop(self.users.get_mut(&user).map(|it| it.deleted = false)),
            17 => self.lapse(sku, chance),
            18 if chance.once_in(3) => self.everybody(chance),
            19 => self.refuses = !self.refuses && chance.once_in(2),
            _ => {}
        }
        self.tell();
    }

    /// A SKU's status moves on, or it goes, or it comes.
    fn lapse(&mut self, sku: u8, chance: &mut Chance) {
        const STATES: [CapabilityStatus; 3] =
            [CapabilityStatus::Enabled, CapabilityStatus::Warning, CapabilityStatus::Suspended];
        if chance.once_in(4) && self.skus.remove(&sku).is_some() {
            self.users.values_mut().for_each(|it| it.direct.retain(|it| *it != sku));
            self.groups.values_mut().for_each(|it| it.skus.retain(|it| *it != sku));
        } else {
            self.skus.insert(sku, STATES[chance.below(STATES.len())].clone());
        }
    }

    /// Somebody assigns to all, or takes from all.
    fn everybody(&mut self, chance: &mut Chance) {
        let all: Vec<u8> = self.users.keys().copied().collect();
        if chance.once_in(2) && self.skus.contains_key(&0) {
            for user in 0..USERS {
                self.users.entry(user).or_default().direct.insert(0);
            }
        } else {
            for user in all {
                self.users.get_mut(&user).unwrap().direct.clear();
            }
        }
    }

    /// Notes for delta who changed. Assignment paths are not tracked by it.
    ///
    /// Source: graph-licensing.md section 2.1.
    fn tell(&mut self) {
        self.now += 1;
        let users: Vec<u8> = self.users.keys().copied().collect();
        for user in users {
            let holds = (!self.users[&user].deleted).then(|| self.assigned(user));
            let before = self.told.get(&user).map(|(_, it)| it);
            if before != Some(&holds) {
                self.told.insert(user, (self.now, holds));
            }
        }
    }

    /// The ways by which SKUs reach a user.
    fn paths(&self, user: u8) -> Vec<(u8, Path)> {
        let Some(it) = self.users.get(&user).filter(|it| !it.deleted) else { return Vec::new() };
        let path = |via, state, error: Option<&str>| Path {
            via,
            state,
            error: error.map(Into::into),
            disabled_plans: Vec::new(),
        };
        let direct = it.direct.iter().map(|sku| (*sku, path(Via::Direct, PathState::Active, None)));
        let mut paths: Vec<_> = direct.collect();
        for (id, group) in self.groups.iter().filter(|(_, it)| it.members.contains(&user)) {
            for sku in &group.skus {
                let via = Via::Group(group_id(*id));
                paths.push(if it.failed.contains(&(*id, *sku)) {
                    (*sku, path(via, PathState::Error, Some("CountViolation")))
                } else {
                    (*sku, path(via, PathState::Active, None))
                });
            }
        }
        paths
    }

    fn assigned(&self, user: u8) -> BTreeSet<u8> {
        let held = self.paths(user).into_iter().filter(|(_, it)| it.state != PathState::Error);
        held.map(|(sku, _)| sku).collect()
    }

    /// Those who changed after a moment, those who changed first first.
    pub(super) fn changed_since(&self, since: u64) -> Vec<u8> {
        let mut changed: Vec<_> =
            self.told.iter().filter(|(_, (at, _))| *at > since).map(|(it, (at, _))| (*at, *it)).collect();
        changed.sort_unstable();
        changed.into_iter().map(|(_, user)| user).collect()
    }

    /// Everybody who is there.
    pub(super) fn everyone(&self) -> Vec<u8> {
        self.users.iter().filter(|(_, it)| !it.deleted).map(|(user, _)| *user).collect()
    }

    /// A user's row, complete; `None` if he is gone.
    pub(super) fn row(&self, user: u8) -> Option<UserRow> {
        self.users.get(&user).filter(|it| !it.deleted)?;
        let licence = |sku| AssignedLicence { sku: sku_id(sku), disabled_plans: Vec::new() };
        let states = self.paths(user).into_iter().map(|(sku, path)| (sku_id(sku), path));
        Some(UserRow {
            id: user_id(user),
            removed: None,
            assigned: Some(self.assigned(user).into_iter().map(licence).collect()),
            states: Some(states.collect()),
        })
    }

    /// The row that says that a user is gone.
    pub(super) fn gone(user: u8) -> UserRow {
        UserRow { id: user_id(user), removed: Some(Removed::Changed), assigned: None, states: None }
    }

    /// The SKUs that are listed.
    pub(super) fn skus(&self) -> Vec<Sku> {
        let sku = |(id, status): (&u8, &CapabilityStatus)| Sku {
            id: sku_id(*id),
            part_number: format!("SKU{id}").into(),
            status: status.clone(),
            service_plans: Vec::new(),
            units: Units::default(),
            next_lifecycle: None,
            missing_since: None,
        };
        self.skus.iter().map(sku).collect()
    }

    /// The SKUs of ours, as a mirror should have them.
    pub(super) fn our_skus(&self) -> Vec<Sku> {
        self.skus().into_iter().filter(|it| (0..OURS).any(|sku| it.id == sku_id(sku))).collect()
    }

    /// What each user holds of ours, as a mirror should have it.
    pub(super) fn truth(&self) -> BTreeMap<UserId, UserLicences> {
        let of = |user: &u8| {
            let assigned = self.assigned(*user);
            let mut licences: BTreeMap<u8, Licence> = BTreeMap::new();
            for (sku, path) in self.paths(*user).into_iter().filter(|(sku, _)| *sku < OURS) {
                let blank = Licence {
                    sku: sku_id(sku),
                    assigned: assigned.contains(&sku),
                    disabled_plans: Vec::new(),
                    paths: Vec::new(),
                };
                licences.entry(sku).or_insert(blank).paths.push(path);
            }
            let holds = UserLicences::new(licences.into_values());
            (!holds.is_empty()).then(|| (user_id(*user), holds))
        };
        self.users.keys().filter_map(of).collect()
    }
}
