//! What happens to groups: members, nesting, licences, deletion. Tests call these methods, and so
//! does `POST /control`.

use smallvec::SmallVec;
use uuid::Uuid;

use super::World;
use super::edit::WorldError;
use super::tenant::{DIRECT, Group, GroupChange, Life, Member};

impl World {
    /// Adds a group and returns its id.
    ///
    /// # Errors
    /// No such tenant, or no room.
    pub fn add_group(
        &mut self,
        tenant: Uuid,
        id: Option<Uuid>,
        name: &str,
    ) -> Result<Uuid, WorldError> {
        let id = id.unwrap_or_else(|| self.fresh_id());
        self.edit(tenant, |tenant, now| {
            let at = u16::try_from(tenant.groups.len()).ok().filter(|at| *at < DIRECT);
            let at = at.ok_or(WorldError::Full)?;
            tenant.groups.push(Group::new(id, name.to_owned()));
            tenant.group_changed(at, now, GroupChange::Born);
            Ok(id)
        })
    }

    fn membership(
        &mut self,
        tenant: Uuid,
        group: Uuid,
        user: Uuid,
        f: impl FnOnce(&mut SmallVec<[u16; 4]>, u16),
    ) -> Result<(), WorldError> {
        let lag_s = self.lag_s();
        self.edit(tenant, |tenant, now| {
            let by = tenant.group(group).ok_or(WorldError::Group(group))?.0;
            let at = tenant.position(user).ok_or(WorldError::User(user))?;
            tenant.edit(at, now, |user| f(&mut user.groups, by));
            tenant.schedule([at], now.saturating_add(lag_s));
            Ok(())
        })
    }

    /// Adds a user to a group; his licences follow after the lag.
    ///
    /// # Errors
    /// No such tenant, group or user.
    pub fn add_member(&mut self, tenant: Uuid, group: Uuid, user: Uuid) -> Result<(), WorldError> {
        self.membership(tenant, group, user, |groups, by| {
            if !groups.contains(&by) {
                groups.push(by);
            }
        })
    }

    /// Takes a user out of a group; his licences follow after the lag.
    ///
    /// # Errors
    /// No such tenant, group or user.
    pub fn remove_member(
        &mut self,
        tenant: Uuid,
        group: Uuid,
        user: Uuid,
    ) -> Result<(), WorldError> {
        self.membership(tenant, group, user, |groups, by| groups.retain(|group| *group != by))
    }

    /// Makes a group a member of another; licences do not pass through.
    ///
    /// # Errors
    /// No such tenant or group.
    pub fn nest_group(&mut self, tenant: Uuid, outer: Uuid, inner: Uuid) -> Result<(), WorldError> {
        self.edit(tenant, |tenant, now| {
            let inner = tenant.group(inner).ok_or(WorldError::Group(inner))?.0;
            let at = tenant.group(outer).ok_or(WorldError::Group(outer))?.0;
            if let Some(group) = tenant.groups.get_mut(usize::from(at)) {
                group.nested.push(inner);
            }
            tenant.group_changed(at, now, GroupChange::Member(Member::Group(inner)));
            Ok(())
        })
    }

    /// Puts a SKU on a group (`Some(disabled plans)`) or takes it off (`None`).
    ///
    /// # Errors
    /// No such tenant, group or SKU.
    pub fn group_license(
        &mut self,
        tenant: Uuid,
        group: Uuid,
        sku: Uuid,
        disabled: Option<&[Uuid]>,
    ) -> Result<(), WorldError> {
        let kind = self.kind(sku)?;
        let disabled = disabled.map(|plans| self.mask(kind, plans));
        let lag_s = self.lag_s();
        self.edit(tenant, |tenant, now| {
            let by = tenant.group(group).ok_or(WorldError::Group(group))?.0;
            if disabled.is_some() && tenant.sku(kind).is_none() {
                return Err(WorldError::Sku(sku));
            }
            let due = now.saturating_add(lag_s);
            if let Some(group) = tenant.groups.get_mut(usize::from(by)) {
                group.licenses.retain(|(on, _)| *on != kind);
                group.licenses.extend(disabled.map(|mask| (kind, mask)));
                group.processing_until = due;
            }
            tenant.group_changed(by, now, GroupChange::Licenses);
            let members = tenant.members(by);
            tenant.schedule(members, due);
            Ok(())
        })
    }

    /// Remembers to which groups a delta sequence is limited; its number, from 1.
    pub(crate) fn limit(&mut self, groups: Vec<Uuid>) -> u32 {
        let known = self.limited.iter().position(|it| *it == groups);
        let at = known.unwrap_or_else(|| {
            self.limited.push(groups);
            self.limited.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The groups of that number; `None` for all.
    pub(crate) fn limited(&self, number: u32) -> Option<&[Uuid]> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.limited.get(at).map(Vec::as_slice)
    }

    /// Changes a group itself.
    fn group(
        &mut self,
        tenant: Uuid,
        group: Uuid,
        change: impl FnOnce(&mut Group, i64) -> bool,
    ) -> Result<(), WorldError> {
        self.edit(tenant, |tenant, now| {
            let at = tenant.group(group).ok_or(WorldError::Group(group))?.0;
            let found = tenant.groups.get_mut(usize::from(at));
            if !found.is_some_and(|it| change(it, now)) {
                return Err(WorldError::Group(group));
            }
            tenant.group_changed(at, now, GroupChange::Itself);
            Ok(())
        })
    }

    /// Says whether a rule makes the members of a group.
    ///
    /// # Errors
    /// No such tenant or group.
    pub fn set_dynamic(&mut self, tenant: Uuid, group: Uuid, on: bool) -> Result<(), WorldError> {
        self.group(tenant, group, |it, _| {
            it.dynamic = on;
            true
        })
    }

    /// Soft-deletes a group: its licences are taken off first, as Microsoft demands, and leave the
    /// members after the lag.
    ///
    /// # Errors
    /// No such tenant or live group.
    pub fn delete_group(&mut self, tenant: Uuid, group: Uuid) -> Result<(), WorldError> {
        self.group(tenant, group, |it, now| {
            let live = it.life == Life::Live;
            it.licenses.clear();
            it.life = if live { Life::Deleted(now) } else { it.life };
            live
        })?;
        let lag_s = self.lag_s();
        self.edit(tenant, |tenant, now| {
            let by = tenant.group(group).ok_or(WorldError::Group(group))?.0;
            let members = tenant.members(by);
            tenant.schedule(members, now.saturating_add(lag_s));
            Ok(())
        })
    }

    /// Brings a soft-deleted group back, without licences.
    ///
    /// # Errors
    /// No such tenant or soft-deleted group.
    pub fn restore_group(&mut self, tenant: Uuid, group: Uuid) -> Result<(), WorldError> {
        self.group(tenant, group, |it, _| {
            let deleted = matches!(it.life, Life::Deleted(_));
            it.life = if deleted { Life::Live } else { it.life };
            deleted
        })
    }

    /// Removes a group for good, deleted before or not.
    ///
    /// # Errors
    /// No such tenant or group.
    pub fn purge_group(&mut self, tenant: Uuid, group: Uuid) -> Result<(), WorldError> {
        self.group(tenant, group, |it, _| {
            it.licenses.clear();
            it.life = Life::Purged;
            true
        })
    }
}
