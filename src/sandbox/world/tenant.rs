//! One customer's directory: SKUs, users, groups, and the journal that delta queries read.
//!
//! Users are compact (about 100 bytes) and everything that follows from them is rendered on demand,
//! so that a tenant of 300,000 users fits easily.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;
use uuid::Uuid;

use super::catalog::Kind;
use super::shown::Shown;
use crate::sandbox::graph::throttle::Bucket;
use crate::sandbox::wire::DAY_S;

/// `by` of a path that is a direct assignment.
pub(crate) const DIRECT: u16 = u16::MAX;

/// Delta tokens live this long; the journal is kept as long. Source: graph-licensing.md 5.6.
pub(crate) const TOKEN_LIFE_S: i64 = 7 * DAY_S;

/// What of a user changed, one bit each; also what a `$select` names.
pub(crate) mod props {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const UPN: u16 = 1 << 1;
    pub(crate) const ENABLED: u16 = 1 << 2;
    pub(crate) const LOCATION: u16 = 1 << 3;
    pub(crate) const LICENSES: u16 = 1 << 4;
    pub(crate) const PLANS: u16 = 1 << 5;
    /// Never tracked by delta. Source: graph-licensing.md 5.3.
    pub(crate) const STATES: u16 = 1 << 6;
    pub(crate) const USER_TYPE: u16 = 1 << 7;
    pub(crate) const DELETED_AT: u16 = 1 << 8;
    pub(crate) const SYNCED: u16 = 1 << 9;
    pub(crate) const PROVISIONED: u16 = 1 << 10;
    pub(crate) const MAIL: u16 = 1 << 11;
    /// New, restored, deleted: a row whatever is selected.
    pub(crate) const LIFE: u16 = 1 << 15;
}

/// `state` of a licence path. Source: graph-licensing.md 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathState {
    Active,
    ActiveWithError,
    Disabled,
    Error,
}

/// `error` of a licence path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    None,
    Count,
    MutuallyExclusive,
    Dependency,
    UsageLocation,
    Uniqueness,
    Other,
}

/// One way a user came by a SKU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) sku: Kind,
    /// Position of the group, or [`DIRECT`].
    pub(crate) by: u16,
    /// Disabled plans, a bit each.
    pub(crate) disabled: u32,
    pub(crate) state: PathState,
    pub(crate) error: Violation,
    /// Seconds since 1970.
    pub(crate) updated: u32,
}

impl Path {
    /// A path in error records an intent, not a licence.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.state, PathState::Active | PathState::ActiveWithError)
    }
}

/// Where a user is in life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    /// Soft-deleted at that second; restorable for 30 days.
    Deleted(i64),
    Purged,
}

/// `usageLocation`: delta tells never set (absent) from cleared (null).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Never,
    Cleared,
    Country([u8; 2]),
}

/// One user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    /// A given name; users without one are named after their position.
    pub(crate) name: Option<Box<str>>,
    pub(crate) enabled: bool,
    pub(crate) guest: bool,
    pub(crate) location: Location,
    pub(crate) life: Life,
    pub(crate) groups: SmallVec<[u16; 4]>,
    pub(crate) paths: SmallVec<[Path; 1]>,
}

impl User {
    /// A live member without licences.
    pub(crate) fn new(id: Uuid) -> Self {
        Self {
            id,
            name: None,
            enabled: true,
            guest: false,
            location: Location::Never,
            life: Life::Live,
            groups: SmallVec::new(),
            paths: SmallVec::new(),
        }
    }

    /// `assignedLicenses`: the SKUs held and what is disabled on every path; overlapping
    /// assignments add up. Source: graph-licensing.md 2.2.
    pub(crate) fn held(&self) -> SmallVec<[(Kind, u32); 2]> {
        let mut held: SmallVec<[(Kind, u32); 2]> = SmallVec::new();
        for path in self.paths.iter().filter(|path| path.holds()) {
            match held.iter_mut().find(|(sku, _)| *sku == path.sku) {
                Some((_, disabled)) => *disabled &= path.disabled,
                None => held.push((path.sku, path.disabled)),
            }
        }
        held.sort_unstable();
        held
    }
}

/// A group that may carry licences.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// SKU and disabled plans.
    pub(crate) licenses: Vec<(Kind, u32)>,
    /// Positions of groups that are members; licences do not pass through them.
    pub(crate) nested: Vec<u16>,
    /// Until when licences are being processed, seconds since 1970.
    pub(crate) processing_until: i64,
    /// A rule says who is a member.
    pub(crate) dynamic: bool,
    pub(crate) life: Life,
}

impl Group {
    /// A group without licences and members.
    pub(crate) fn new(id: Uuid, name: String) -> Self {
        let (licenses, nested) = (Vec::new(), Vec::new());
        Self { id, name, licenses, nested, processing_until: 0, dynamic: false, life: Life::Live }
    }
}

/// Bought units by state. Source: graph-licensing.md 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkuUnits {
    /// Of the active subscription.
    pub enabled: u32,
    /// In the grace period, still usable.
    pub warning: u32,
    /// Cancelled, not assignable.
    pub suspended: u32,
    /// Locked because the customer cancelled.
    pub locked_out: u32,
}

impl SkuUnits {
    /// All units whatever their state.
    pub fn total(self) -> u32 {
        let Self { enabled, warning, suspended, locked_out } = self;
        enabled.saturating_add(warning).saturating_add(suspended).saturating_add(locked_out)
    }
}

/// A SKU in one tenant.
#[derive(Clone, Debug)]
pub(crate) struct TenantSku {
    pub(crate) kind: Kind,
    /// Verbatim, so that words nobody has seen yet can be played too.
    pub(crate) status: String,
    pub(crate) units: SkuUnits,
    pub(crate) consumed: u32,
    pub(crate) trial: bool,
    /// When its status will move on; 25 days from now unless set.
    pub(crate) next_lifecycle_s: Option<i64>,
}

/// One entry of the journal: who changed, and what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) version: u64,
    pub(crate) at: i64,
    pub(crate) user: u32,
    pub(crate) props: u16,
}

/// A direct member of a group, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    User(u32),
    Group(u16),
}

/// What happened to a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupChange {
    Born,
    Licenses,
    /// Its name or kind, or it was deleted or restored.
    Itself,
    /// Came or went.
    Member(Member),
}

/// One entry of the journal of groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupEntry {
    pub(crate) version: u64,
    pub(crate) at: i64,
    pub(crate) group: u16,
    pub(crate) change: GroupChange,
}

/// One customer.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// Application permissions; `None`: our app is not in this tenant.
    pub(crate) consent: Option<Vec<String>>,
    /// By which AADSTS code its cloud refuses us, if it lives in a government's.
    pub(crate) national: Option<u32>,
    pub(crate) skus: Vec<TenantSku>,
    pub(crate) groups: Vec<Group>,
    pub(crate) users: Vec<User>,
    pub(crate) index: HashMap<Uuid, u32>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) group_journal: Vec<GroupEntry>,
    pub(crate) version: u64,
    /// Users whose group licences are due, by due second.
    pub(crate) pending: BTreeSet<(i64, u32)>,
    pub(crate) bucket: Bucket,
    /// SKUs that are not shown plainly.
    pub(crate) shown: Vec<(Kind, Shown)>,
}

impl Tenant {
    /// An empty directory.
    pub(crate) fn new(id: Uuid, name: &str, consent: Option<Vec<String>>) -> Self {
        Self {
            id,
            name: name.to_owned(),
            consent,
            national: None,
            skus: Vec::new(),
            groups: Vec::new(),
            users: Vec::new(),
            index: HashMap::new(),
            journal: Vec::new(),
            group_journal: Vec::new(),
            version: 0,
            pending: BTreeSet::new(),
            bucket: Bucket::default(),
            shown: Vec::new(),
        }
    }

    /// Second-level domain of the addresses in this tenant.
    pub(crate) fn domain(&self) -> String {
        let letters = self.name.chars().filter(char::is_ascii_alphanumeric);
        format!("{}.example", letters.collect::<String>().to_lowercase())
    }

    /// Position of a user that is not purged.
    pub(crate) fn position(&self, user: Uuid) -> Option<u32> {
        self.index
            .get(&user)
            .copied()
            .filter(|at| self.user(*at).is_some_and(|user| user.life != Life::Purged))
    }

    /// The user at a position.
    pub(crate) fn user(&self, at: u32) -> Option<&User> {
        self.users.get(usize::try_from(at).ok()?)
    }

    /// Positions and users, in the order of the listing.
    pub(crate) fn enumerate(&self) -> impl Iterator<Item = (u32, &User)> {
        (0..).zip(&self.users)
    }

    /// A group by id.
    pub(crate) fn group(&self, id: Uuid) -> Option<(u16, &Group)> {
        (0..).zip(&self.groups).find(|(_, group)| group.id == id)
    }

    /// A SKU of this tenant.
    pub(crate) fn sku(&self, kind: Kind) -> Option<&TenantSku> {
        self.skus.iter().find(|sku| sku.kind == kind)
    }

    /// Users that are there.
    pub(crate) fn live(&self) -> usize {
        self.users.iter().filter(|user| user.life == Life::Live).count()
    }

    /// Adds a user without a journal entry (building the world).
    pub(crate) fn push(&mut self, user: User) -> Option<u32> {
        let at = u32::try_from(self.users.len()).ok()?;
        self.index.insert(user.id, at);
        self.users.push(user);
        Some(at)
    }

    /// Changes a user, keeps `consumedUnits` right and writes the journal. `licenseAssignmentStates`
    /// alone writes nothing: delta is blind to it.
    pub(crate) fn edit(&mut self, at: u32, now: i64, f: impl FnOnce(&mut User)) {
        let Some(user) = usize::try_from(at).ok().and_then(|at| self.users.get_mut(at)) else {
            return;
        };
        let before = user.clone();
        f(user);
        let after = user.clone();
        let props = difference(&before, &after);
        self.count(&before, u32::wrapping_sub);
        self.count(&after, u32::wrapping_add);
        if props != 0 {
            self.journal(at, now, props);
        }
        let left = before.groups.iter().filter(|group| !after.groups.contains(group));
        let joined = after.groups.iter().filter(|group| !before.groups.contains(group));
        for group in left.chain(joined) {
            self.group_changed(*group, now, GroupChange::Member(Member::User(at)));
        }
    }

    /// Writes the journal of groups, kept as long as that of users.
    pub(crate) fn group_changed(&mut self, group: u16, at: i64, change: GroupChange) {
        self.version += 1;
        self.group_journal.push(GroupEntry { version: self.version, at, group, change });
        if self.group_journal.first().is_some_and(|entry| entry.at < at - 2 * TOKEN_LIFE_S) {
            self.group_journal.retain(|entry| entry.at >= at - TOKEN_LIFE_S);
        }
    }

    /// Is someone a direct member?
    pub(crate) fn is_member(&self, group: u16, member: Member) -> bool {
        match member {
            Member::User(at) => self.user(at).is_some_and(|user| user.groups.contains(&group)),
            Member::Group(at) => {
                self.groups.get(usize::from(group)).is_some_and(|own| own.nested.contains(&at))
            }
        }
    }

    /// Writes the journal and forgets what no living token can ask for.
    pub(crate) fn journal(&mut self, user: u32, at: i64, props: u16) {
        self.version += 1;
        self.journal.push(Entry { version: self.version, at, user, props });
        let dead = self.journal.first().is_some_and(|entry| entry.at < at - 2 * TOKEN_LIFE_S);
        if dead {
            self.journal.retain(|entry| entry.at >= at - TOKEN_LIFE_S);
        }
    }

    fn count(&mut self, user: &User, step: fn(u32, u32) -> u32) {
        if user.life != Life::Live {
            return;
        }
        for (kind, _) in user.held() {
            if let Some(sku) = self.skus.iter_mut().find(|sku| sku.kind == kind) {
                sku.consumed = step(sku.consumed, 1);
            }
        }
    }

    /// Counts `consumedUnits` anew, after users were pushed.
    pub(crate) fn recount(&mut self) {
        for sku in &mut self.skus {
            sku.consumed = 0;
        }
        let users = std::mem::take(&mut self.users);
        for user in &users {
            self.count(user, u32::wrapping_add);
        }
        self.users = users;
    }
}

/// The tracked properties in which two states of a user differ.
fn difference(before: &User, after: &User) -> u16 {
    let mut props = 0;
    if before.held() != after.held() {
        props |= props::LICENSES | props::PLANS | props::PROVISIONED;
    }
    if before.enabled != after.enabled {
        props |= props::ENABLED;
    }
    if before.location != after.location {
        props |= props::LOCATION;
    }
    if before.name != after.name {
        props |= props::NAME;
    }
    if before.life != after.life {
        props |= props::LIFE | props::DELETED_AT;
    }
    props
}
