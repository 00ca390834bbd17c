//! The bytes of one bucket of users.
//!
//! ```text
//! bucket   = "" | count u32, count × end u32, count × user id (16 bytes, ascending), licences…
//! licences = flags u8, [missing_since], n, n × licence
//! licence  = sku 16, flags u8, [plans], n, n × path
//! path     = flags u8, [group 16], [state word], [error word], [plans]
//! ```
//!
//! `end` is where a user's licences end, counted from the first one's begin. Numbers of fixed width
//! are little-endian; counts and lengths are variable (7 bits a byte). The store writes these
//! bytes to disk under a record version, so a change here is a change of the disk format.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::{
    GroupId, Licence, Path, PathState, RunId, ServicePlanId, SkuId, UserId, UserLicences, Via,
};

const ID: usize = 16;
const WORD: usize = 4;

/// The bytes are no bucket of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no bucket of users")]
pub struct BadBucket;

/// One bucket, looked at in place.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'a> {
    ids: &'a [[u8; ID]],
    ends: &'a [[u8; WORD]],
    licences: &'a [u8],
}

impl<'a> Bucket<'a> {
    /// The bucket in these bytes; an empty one if they are none, which [`Self::check`] has ruled
    /// out for all that came from outside.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self::split(bytes).unwrap_or(Self { ids: &[], ends: &[], licences: &[] })
    }

    /// The bucket in these bytes, with all that is in it looked at.
    pub(super) fn check(bytes: &'a [u8]) -> Result<Self, BadBucket> {
        if bytes.is_empty() {
            return Ok(Self::of(bytes));
        }
        let bucket = Self::split(bytes).ok_or(BadBucket)?;
        let ascending = bucket.ids.is_sorted_by(|a, b| a < b);
        let last = bucket.ends.last().map_or(0, |it| number(*it));
        let whole = last == bucket.licences.len() && !bucket.ids.is_empty();
        let readable = (0..bucket.len()).all(|at| bucket.at(at).and_then(decode).is_some());
        (ascending && whole && readable).then_some(bucket).ok_or(BadBucket)
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<WORD>()?;
        let count = number(*count);
        let (ends, rest) = rest.split_at_checked(count.checked_mul(WORD)?)?;
        let (ids, licences) = rest.split_at_checked(count.checked_mul(ID)?)?;
        Some(Self { ids: ids.as_chunks().0, ends: ends.as_chunks().0, licences })
    }

    pub(super) fn len(self) -> usize {
        self.ids.len()
    }

    /// Object ids are random, so the first byte tells about where one is: from there it is a step or
    /// two, on the same cache line or the next, where halving would touch one more each time.
    pub(super) fn position(self, user: UserId) -> Option<usize> {
        let (id, [first, ..]) = (user.as_bytes(), *user.as_bytes());
        let mut at = (usize::from(first) * self.ids.len()) >> 8;
        while self.ids.get(at).is_some_and(|it| it < id) {
            at += 1;
        }
        while at > 0 && self.ids.get(at - 1).is_some_and(|it| it >= id) {
            at -= 1;
        }
        (self.ids.get(at) == Some(id)).then_some(at)
    }

    /// What this user holds, if he is in it.
    pub(super) fn find(self, user: UserId) -> Option<&'a [u8]> {
        self.at(self.position(user)?)
    }

    /// How many are in it only because something about them could not be read.
    pub(super) fn unread(self) -> usize {
        self.entries().filter(|(_, it)| is_unread(it)).count()
    }

    pub(super) fn users(self) -> impl Iterator<Item = UserId> {
        self.ids.iter().map(|it| UserId::from_uuid(Uuid::from_bytes(*it)))
    }

    pub(super) fn entries(self) -> impl Iterator<Item = (UserId, &'a [u8])> {
        self.users().enumerate().filter_map(move |(at, user)| Some((user, self.at(at)?)))
    }

    fn at(self, index: usize) -> Option<&'a [u8]> {
        let end = number(*self.ends.get(index)?);
        let before = index.checked_sub(1).and_then(|it| self.ends.get(it));
        self.licences.get(before.map_or(0, |it| number(*it))..end)
    }
}

fn number(bytes: [u8; WORD]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

/// The bucket of these users, which are in ascending order and each there once.
pub(super) fn pack(users: &[(UserId, &[u8])]) -> Arc<[u8]> {
    if users.is_empty() {
        return Arc::from([]);
    }
    let licences: usize = users.iter().map(|(_, it)| it.len()).sum();
    let mut bytes = Vec::with_capacity(WORD + users.len() * (ID + WORD) + licences);
    bytes.extend(word(users.len()));
    let mut end = 0_usize;
    for (_, it) in users {
        end = end.saturating_add(it.len());
        bytes.extend(word(end));
    }
    for (user, _) in users {
        bytes.extend(user.as_bytes());
    }
    for (_, it) in users {
        bytes.extend(*it);
    }
    bytes.into()
}

fn word(number: usize) -> [u8; WORD] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

const HAS_MISSING: u8 = 1;
const UNREAD: u8 = 2;

const ASSIGNED: u8 = 1;
const LICENCE_HAS_PLANS: u8 = 2;

const STATE_MASK: u8 = 0b111;
const STATE_OTHER: u8 = 4;
const HAS_GROUP: u8 = 8;
const HAS_ERROR: u8 = 16;
const PATH_HAS_PLANS: u8 = 32;

/// Whether these bytes say that nothing is held and something could not be read.
pub(super) fn is_unread(licences: &[u8]) -> bool {
    licences.first().is_some_and(|flags| flags & UNREAD != 0)
        && decode(licences).is_some_and(|it| it.licences.is_empty())
}

/// The bytes of what one user holds.
pub(in crate::domain) fn encode(it: &UserLicences) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.push(flag(it.missing_since.is_some(), HAS_MISSING) | flag(it.unread, UNREAD));
    if let Some(RunId(run)) = it.missing_since {
        put_number(&mut out, run);
    }
    put_count(&mut out, it.licences.len());
    for licence in &it.licences {
        put_licence(&mut out, licence);
    }
    out
}

fn put_licence(out: &mut Vec<u8>, it: &Licence) {
    out.extend(it.sku.as_bytes());
    let plans = !it.disabled_plans.is_empty();
    out.push(flag(it.assigned, ASSIGNED) | flag(plans, LICENCE_HAS_PLANS));
    put_plans(out, &it.disabled_plans);
    put_count(out, it.paths.len());
    for path in &it.paths {
        put_path(out, path);
    }
}

fn put_path(out: &mut Vec<u8>, it: &Path) {
    let (state, other) = match &it.state {
        PathState::Active => (0, None),
        PathState::ActiveWithError => (1, None),
        PathState::Disabled => (2, None),
        PathState::Error => (3, None),
        PathState::Unrecognized(word) => (STATE_OTHER, Some(word)),
    };
    let group = match it.via {
        Via::Direct => None,
        Via::Group(group) => Some(group),
    };
    out.push(
        state
            | flag(group.is_some(), HAS_GROUP)
            | flag(it.error.is_some(), HAS_ERROR)
            | flag(!it.disabled_plans.is_empty(), PATH_HAS_PLANS),
    );
    if let Some(group) = group {
        out.extend(group.as_bytes());
    }
    for word in [other, it.error.as_ref()].into_iter().flatten() {
        put_count(out, word.len());
        out.extend(word.as_bytes());
    }
    put_plans(out, &it.disabled_plans);
}

fn put_plans(out: &mut Vec<u8>, plans: &[ServicePlanId]) {
    if !plans.is_empty() {
        put_count(out, plans.len());
        for plan in plans {
            out.extend(plan.as_bytes());
        }
    }
}

fn flag(on: bool, bit: u8) -> u8 {
    if on { bit } else { 0 }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_number(out, count.try_into().unwrap_or(u64::MAX));
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_byte(number) | 0x80);
        number >>= 7;
    }
    out.push(low_byte(number));
}

fn low_byte(number: u64) -> u8 {
    let [low, ..] = (number & 0x7f).to_le_bytes();
    low
}

/// What one user holds; `None` if the bytes say no such thing.
pub(in crate::domain) fn decode(bytes: &[u8]) -> Option<UserLicences> {
    let mut reader = Reader(bytes);
    let flags = reader.byte()?;
    let missing_since = if flags & HAS_MISSING == 0 { None } else { Some(RunId(reader.number()?)) };
    let count = reader.count(ID)?;
    let mut licences = Vec::with_capacity(count);
    for _ in 0..count {
        licences.push(reader.licence()?);
    }
    let unread = flags & UNREAD != 0;
    reader.0.is_empty().then_some(UserLicences { licences, missing_since, unread })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A count of things of at least so many bytes: never more than can follow.
    fn count(&mut self, each: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count.checked_mul(each)? <= self.0.len()).then_some(count)
    }

    fn id(&mut self) -> Option<Uuid> {
        let (id, rest) = self.0.split_first_chunk::<ID>()?;
        self.0 = rest;
        Some(Uuid::from_bytes(*id))
    }

    fn word(&mut self) -> Option<Arc<str>> {
        let length = self.count(1)?;
        let (word, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(word).ok().map(Arc::from)
    }

    fn plans(&mut self, there: bool) -> Option<Vec<ServicePlanId>> {
        if !there {
            return Some(Vec::new());
        }
        let count = self.count(ID)?;
        (0..count).map(|_| self.id().map(ServicePlanId::from_uuid)).collect()
    }

    fn licence(&mut self) -> Option<Licence> {
        let sku = SkuId::from_uuid(self.id()?);
        let flags = self.byte()?;
        let disabled_plans = self.plans(flags & LICENCE_HAS_PLANS != 0)?;
        let count = self.count(1)?;
        let mut paths = Vec::with_capacity(count);
        for _ in 0..count {
            paths.push(self.path()?);
        }
        Some(Licence { sku, assigned: flags & ASSIGNED != 0, disabled_plans, paths })
    }

    fn path(&mut self) -> Option<Path> {
        let flags = self.byte()?;
        let via = match flags & HAS_GROUP {
            0 => Via::Direct,
            _ => Via::Group(GroupId::from_uuid(self.id()?)),
        };
        let state = match flags & STATE_MASK {
            0 => PathState::Active,
            1 => PathState::ActiveWithError,
            2 => PathState::Disabled,
            3 => PathState::Error,
            STATE_OTHER => PathState::Unrecognized(self.word()?),
            _ => return None,
        };
        let error = if flags & HAS_ERROR == 0 { None } else { Some(self.word()?) };
        let disabled_plans = self.plans(flags & PATH_HAS_PLANS != 0)?;
        Some(Path { via, state, error, disabled_plans })
    }
}
