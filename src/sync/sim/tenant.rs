//! A tenant as Microsoft sees it, and what may happen in it.

mod groups;

use std::collections::BTreeMap;

use uuid::Uuid;

use self::groups::{Group, Reached};
pub(super) use self::groups::{Standing, group_number};

use crate::domain::{
    CapabilityStatus, GroupId, Licence, Path, PathState, Sku, SkuId, TenantId, Units, UserId,
    UserLicences, Via,
};
use crate::microsoft::{AssignedLicence, Removed, UserRow};
use crate::planted::Chance;

/// SKUs of ours; the one after them is somebody else's.
pub(super) const OURS: u8 = 2;
const SKUS: u8 = 3;
const USERS: u8 = 12;
pub(super) const GROUPS: u8 = 3;

pub(super) fn tenant_id(tenant: usize) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128((0x7e << 64) + tenant as u128 + 1)).unwrap()
}

pub(super) fn user_id(user: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128((0x05e7 << 64) + u128::from(user) + 1))
}

/// Which user this is.
pub(super) fn user_number(user: UserId) -> u8 {
    (user.as_uuid().as_u128() & 0xff) as u8 - 1
}

pub(super) fn sku_id(sku: u8) -> SkuId {
    SkuId::from_uuid(Uuid::from_u128((0x5c << 64) + u128::from(sku) + 1))
}

pub(super) fn group_id(group: u8) -> GroupId {
    GroupId::from_uuid(Uuid::from_u128((0x96 << 64) + u128::from(group) + 1))
}

#[derive(Clone, Copy, Debug, Default)]
struct User {
    deleted: bool,
    /// SKUs assigned to himself; a bit each.
    direct: u8,
    /// What has reached him through each group.
    through: [Reached; GROUPS as usize],
}

/// A tenant as Microsoft sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenant {
    users: BTreeMap<u8, User>,
    groups: [Group; GROUPS as usize],
    skus: BTreeMap<u8, CapabilityStatus>,
    /// How many may have each SKU.
    seats: [usize; SKUS as usize],
    /// When each membership last came or went, as far as Microsoft tells of it.
    moved: BTreeMap<(u8, u8), u64>,
    /// When each user last changed in a way that delta tells, and what he holds as delta sees it.
    told: BTreeMap<u8, (u64, Option<u8>)>,
    pub(super) now: u64,
    pub(super) refuses: bool,
    /// Whether groups may not be read, though users may.
    pub(super) hides_groups: bool,
    /// Cursors issued before this are dead.
    pub(super) oldest: u64,
}

impl User {
    /// The SKUs that he has, by whatever way.
    fn assigned(self) -> u8 {
        self.through.iter().fold(self.direct, |all, it| all | (it.given & !it.failed))
    }

    /// Keeps only these.
    fn lose(&mut self, all_but: u8) {
        self.direct &= all_but;
        self.through.iter_mut().for_each(|it| it.given &= all_but);
    }
}

fn bits(mask: u8) -> impl Iterator<Item = u8> {
    (0..SKUS).filter(move |it| mask & (1 << it) != 0)
}

impl Tenant {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let mut tenant = Self::default();
        for sku in 0..SKUS {
            tenant.seats[usize::from(sku)] = 2 + chance.below(usize::from(USERS));
            if !chance.once_in(4) {
                tenant.skus.insert(sku, CapabilityStatus::Enabled);
            }
        }
        for _ in 0..chance.below(24) {
            tenant.happen(chance);
        }
        tenant.let_us_in();
        tenant
    }

    /// Everything may be read.
    pub(super) fn let_us_in(&mut self) {
        (self.refuses, self.hides_groups) = (false, false);
    }

    /// Something happens.
    pub(super) fn happen(&mut self, chance: &mut Chance) {
        let user = u8::try_from(chance.below(usize::from(USERS))).unwrap();
        let group = u8::try_from(chance.below(usize::from(GROUPS))).unwrap();
        let sku = u8::try_from(chance.below(usize::from(SKUS))).unwrap();
        let sku_bit = 1_u8 << sku;
        let listed = self.skus.contains_key(&sku);
        let known = self.users.get_mut(&user);
        match (chance.below(24), known) {
            (0..6, _) if listed => {
                let it = self.users.entry(user).or_default();
                it.deleted = false;
                it.direct |= sku_bit;
            }
            (6..8, Some(it)) => it.direct &= !sku_bit,
            (8..11, Some(it)) if !it.deleted => self.join(group, user),
            (11, _) => self.leave(group, user),
            (12, _) if listed => self.carry(group, sku_bit),
            (13, _) => self.no_longer_carry(group, sku_bit, chance),
            (14, Some(it)) => it.through[usize::from(group)].bars ^= sku_bit,
            (15, Some(it)) => it.deleted = true,
            (16, Some(it)) => it.deleted = false,
            (17, _) => self.lapse(sku, chance),
            (18, _) if chance.once_in(3) => self.everybody(chance),
            (19, _) => self.refuses = !self.refuses && chance.once_in(2),
            (20, _) => self.come_or_go(group, chance),
            (21, Some(it)) if it.deleted => self.purge(user),
            (22, _) => self.hides_groups = !self.hides_groups && chance.once_in(2),
            _ => {}
        }
        // Microsoft takes its time between a membership and its effect.
        if !chance.once_in(3) {
            self.process(group);
        }
        self.tell();
    }

    /// A SKU's status moves on, or it goes, or it comes.
    fn lapse(&mut self, sku: u8, chance: &mut Chance) {
        const STATES: [CapabilityStatus; 3] =
            [CapabilityStatus::Enabled, CapabilityStatus::Warning, CapabilityStatus::Suspended];
        if chance.once_in(4) && self.skus.remove(&sku).is_some() {
            self.users.values_mut().for_each(|it| it.lose(!(1 << sku)));
            self.groups.iter_mut().for_each(|it| it.skus &= !(1 << sku));
        } else {
            self.skus.insert(sku, STATES[chance.below(STATES.len())].clone());
        }
    }

    /// Somebody assigns to all, or takes from all.
    fn everybody(&mut self, chance: &mut Chance) {
        if chance.once_in(2) && self.skus.contains_key(&0) {
            for user in 0..USERS {
                self.users.entry(user).or_default().direct |= 1;
            }
        } else {
            self.users.values_mut().for_each(|it| it.direct = 0);
        }
    }

    /// Notes for delta who changed. Assignment paths are not tracked by it.
    ///
    /// Source: graph-licensing.md section 2.1.
    fn tell(&mut self) {
        self.now += 1;
        for (user, it) in &self.users {
            let holds = (!it.deleted).then(|| it.assigned());
            if self.told.get(user).is_none_or(|(_, before)| *before != holds) {
                self.told.insert(*user, (self.now, holds));
            }
        }
    }

    /// The ways by which SKUs reach a user.
    fn paths(it: User) -> Vec<(u8, Path)> {
        let path = |via, state, error: Option<&str>| Path {
            via,
            state,
            error: error.map(Into::into),
            disabled_plans: Vec::new(),
        };
        let direct = bits(it.direct).map(|sku| (sku, path(Via::Direct, PathState::Active, None)));
        let mut paths: Vec<_> = direct.collect();
        for (group, reached) in (0..GROUPS).zip(it.through) {
            paths.extend(bits(reached.given).map(|sku| {
                let error = reached.error(1 << sku);
                let state = if error.is_some() { PathState::Error } else { PathState::Active };
                (sku, path(Via::Group(group_id(group)), state, error))
            }));
        }
        paths
    }

    /// Those who changed after a moment, those who changed first first.
    pub(super) fn changed_since(&self, since: u64) -> Vec<u8> {
        let mut changed: Vec<_> = self
            .told
            .iter()
            .filter(|(_, (at, _))| *at > since)
            .map(|(it, (at, _))| (*at, *it))
            .collect();
        changed.sort_unstable();
        changed.into_iter().map(|(_, user)| user).collect()
    }

    /// Everybody who is there.
    pub(super) fn everyone(&self) -> Vec<u8> {
        self.users.iter().filter(|(_, it)| !it.deleted).map(|(user, _)| *user).collect()
    }

    /// A user's row, complete; `None` if he is gone.
    pub(super) fn row(&self, user: u8) -> Option<UserRow> {
        let it = self.users.get(&user).filter(|it| !it.deleted)?;
        let licence = |sku| AssignedLicence { sku: sku_id(sku), disabled_plans: Vec::new() };
        let states = Self::paths(*it).into_iter().map(|(sku, path)| (sku_id(sku), path));
        Some(UserRow {
            id: user_id(user),
            removed: None,
            assigned: Some(bits(it.assigned()).map(licence).collect()),
            states: Some(states.collect()),
            changed: None,
            unreadable: Vec::new(),
        })
    }

    /// The row that says that a user is gone.
    pub(super) fn gone(user: u8) -> UserRow {
        let removed = Some(Removed::Changed);
        UserRow {
            id: user_id(user),
            removed,
            assigned: None,
            states: None,
            changed: None,
            unreadable: Vec::new(),
        }
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
        let of = |(user, it): (&u8, &User)| {
            let assigned = it.assigned();
            let mut licences: BTreeMap<u8, Licence> = BTreeMap::new();
            for (sku, path) in Self::paths(*it).into_iter().filter(|(sku, _)| *sku < OURS) {
                let blank = Licence {
                    sku: sku_id(sku),
                    assigned: assigned & (1 << sku) != 0,
                    disabled_plans: Vec::new(),
                    paths: Vec::new(),
                };
                licences.entry(sku).or_insert(blank).paths.push(path);
            }
            let holds = UserLicences::new(licences.into_values());
            (!holds.is_empty()).then(|| (user_id(*user), holds))
        };
        self.users.iter().filter(|(_, it)| !it.deleted).filter_map(of).collect()
    }
}
