//! The groups of a tenant through which licences of ours come: for explaining and for early hints,
//! never for deciding. Membership is the cause; what a user holds is the effect, some time later,
//! and only the effect is a right.
//!
//! Source: graph-licensing.md sections 4.2 and 5.5.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::shards::Shards;
use super::{BadBucket, GroupId, ServicePlanId, SkuId, UserId};

/// How far Microsoft is with the licences of a group.
///
/// Source: Graph, `licenseProcessingState.state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processing {
    /// It waits for its turn.
    Queued,
    /// Licences are being given and taken.
    InProgress,
    /// Done.
    Complete,
    /// A word that Microsoft added later; kept as it is.
    Unrecognized(Arc<str>),
}

impl Processing {
    /// The word, whatever its case and the spaces around it.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "queuedforprocessing" => Self::Queued,
            "processinginprogress" => Self::InProgress,
            "processingcomplete" => Self::Complete,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "QueuedForProcessing",
            Self::InProgress => "ProcessingInProgress",
            Self::Complete => "ProcessingComplete",
            Self::Unrecognized(word) => word,
        }
    }
}

/// How a group went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Deleted, and for 30 days restorable.
    Deleted,
    /// Deleted for good.
    Purged,
    /// Licences name it, but Microsoft does not show it: deleted long ago, or hidden from us.
    NotShown,
}

impl Gone {
    /// The word that programs rely on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Purged => "purged",
            Self::NotShown => "not_shown",
        }
    }
}

/// A licence that a group carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupLicence {
    /// Which SKU of ours.
    pub sku: SkuId,
    /// Service plans switched off for the members; sorted.
    pub disabled_plans: Vec<ServicePlanId>,
    /// When we first saw it there; `None` if it was there when the group was first read.
    pub since: Option<Timestamp>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// What the customer calls it: for the operator's eyes, never for a log.
    pub name: Option<Arc<str>>,
    /// The SKUs of ours that it carries, by id.
    pub licences: Vec<GroupLicence>,
    /// Whether a rule says who is a member.
    pub dynamic: bool,
    /// How far Microsoft is with its licences, if it says so.
    pub processing: Option<Processing>,
    /// Since when we see [`Self::processing`] unfinished.
    pub unfinished_since: Option<Timestamp>,
    /// How and when it went, as far as we saw it.
    pub gone: Option<(Gone, Timestamp)>,
    /// Groups that are members: nothing passes through them. Sorted.
    pub nested: Vec<GroupId>,
    /// Users who are direct members, and those who lately were.
    pub members: Members,
}

impl Group {
    /// A group of which nothing is known but its id.
    pub fn unread(id: GroupId) -> Self {
        Self {
            id,
            name: None,
            licences: Vec::new(),
            dynamic: false,
            processing: None,
            unfinished_since: None,
            gone: None,
            nested: Vec::new(),
            members: Members::default(),
        }
    }

    /// The licence of this SKU that it carries.
    pub fn licence(&self, sku: SkuId) -> Option<&GroupLicence> {
        self.licences.iter().find(|it| it.sku == sku)
    }

    /// What of it is worth a line in the journal: no name, no member.
    pub fn in_words(&self) -> String {
        let gone = self.gone.map_or("there", |(gone, _)| gone.as_str());
        let licence = |it: &GroupLicence| {
            let off: Vec<String> = it.disabled_plans.iter().map(ToString::to_string).collect();
            let off =
                if off.is_empty() { off.concat() } else { format!(" without {}", off.join(", ")) };
            format!("; carries SKU {}{off}", it.sku)
        };
        gone.to_owned() + &self.licences.iter().map(licence).collect::<String>()
    }
}

/// Groups that are followed together: at most [`Feed::MAX`], which one delta sequence can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Which groups; sorted.
    pub groups: Vec<GroupId>,
    /// Graph's delta link (path and query only), and when it was issued.
    pub cursor: (Arc<str>, Timestamp),
}

impl Feed {
    /// The most groups that a delta sequence can be limited to.
    ///
    /// Source: graph-licensing.md section 5.2.
    pub const MAX: usize = 50;
}

/// All groups of a tenant that matter to us, and how far their members were read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Groups {
    /// How far members were read.
    pub feeds: Vec<Feed>,
    /// The groups.
    pub groups: BTreeMap<GroupId, Arc<Group>>,
    /// Groups beyond [`Self::MAX`], of which only the number is known.
    pub left_out: u32,
}

impl Groups {
    /// Groups of one tenant that are followed at most.
    pub const MAX: usize = 1_000;

    /// The group of this id.
    pub fn get(&self, id: GroupId) -> Option<&Arc<Group>> {
        self.groups.get(&id)
    }
}

/// A member, or one who was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Whether he is one.
    pub here: bool,
    /// Since when we see it so; `None` if it was so when the group was first read.
    pub since: Option<Timestamp>,
}

/// The users who are direct members of a group, and those who lately were: 21 bytes each.
///
/// ```text
/// entry = user id (16) | 1 here, 0 left | second since 1970 (u32, big-endian; 0: from the first)
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Members(Shards<16, ENTRY>);

/// Bytes of one member.
const ENTRY: usize = 21;

impl Members {
    /// These.
    pub fn new(members: impl IntoIterator<Item = (UserId, Membership)>) -> Self {
        Self(Shards::new(members.into_iter().map(|(user, it)| entry(user, it))))
    }

    /// Of this user.
    pub fn get(&self, user: UserId) -> Option<Membership> {
        self.0.get(user.as_bytes()).as_ref().map(|it| read(it).1)
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (UserId, Membership)> {
        self.0.iter().map(read)
    }

    /// Users who are members.
    pub fn count(&self) -> usize {
        self.iter().filter(|(_, it)| it.here).count()
    }

    /// How many entries there are, those who left included.
    pub fn entries(&self) -> usize {
        self.0.len()
    }

    /// After these changes; `None` forgets.
    #[must_use]
    pub fn patched(&self, writes: &BTreeMap<UserId, Option<Membership>>) -> Self {
        let writes = writes.iter();
        let writes = writes.map(|(user, it)| (*user.as_bytes(), it.map(|it| entry(*user, it))));
        Self(self.0.patched(&writes.collect()))
    }

    /// The buckets' bytes, in order.
    pub fn buckets(&self) -> &[Arc<[u8]>] {
        self.0.buckets()
    }

    /// The members in these buckets.
    ///
    /// # Errors
    ///
    /// [`BadBucket`].
    pub fn from_buckets(buckets: impl IntoIterator<Item = Arc<[u8]>>) -> Result<Self, BadBucket> {
        Shards::from_buckets(buckets).map(Self)
    }
}

fn entry(user: UserId, it: Membership) -> [u8; ENTRY] {
    let since = it.since.map_or(0, |at| u32::try_from(at.as_second()).unwrap_or(0));
    let mut entry = [0; ENTRY];
    let bytes =
        user.as_bytes().iter().copied().chain([u8::from(it.here)]).chain(since.to_be_bytes());
    for (place, byte) in entry.iter_mut().zip(bytes) {
        *place = byte;
    }
    entry
}

fn read(entry: &[u8; ENTRY]) -> (UserId, Membership) {
    let [id @ .., here, a, b, c, d] = *entry;
    let second = u32::from_be_bytes([a, b, c, d]);
    let since = Timestamp::from_second(i64::from(second)).ok().filter(|_| second > 0);
    (UserId::from_uuid(uuid::Uuid::from_bytes(id)), Membership { here: here == 1, since })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn members_and_those_who_left_are_kept_with_their_moments() {
        let user = |n: u128| UserId::from_uuid(Uuid::from_u128(n));
        let at = Timestamp::from_second(1_795_000_000).unwrap();
        let here = Membership { here: true, since: None };
        let left = Membership { here: false, since: Some(at) };
        let members = Members::new((1..=300).map(|n| (user(n), here)));
        let writes =
            BTreeMap::from([(user(7), Some(left)), (user(8), None), (user(900), Some(here))]);
        let members = members.patched(&writes);
        assert_eq!(members.get(user(7)), Some(left));
        assert_eq!((members.get(user(8)), members.get(user(900))), (None, Some(here)));
        assert_eq!((members.count(), members.entries()), (299, 300));
        let again = Members::from_buckets(members.buckets().to_vec()).unwrap();
        assert_eq!(again, members);
    }

    #[test]
    fn the_words_of_processing_read_back() {
        for word in ["QueuedForProcessing", "ProcessingInProgress", "ProcessingComplete", "Paused"]
        {
            assert_eq!(Processing::from_word(word).as_str(), word);
        }
        assert_eq!(Processing::from_word(" processingcomplete"), Processing::Complete);
    }
}
