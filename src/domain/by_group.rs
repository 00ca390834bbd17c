//! How each user stands with a licensed group: has the licence by it, waits for it, keeps it though he
//! left. Words for people and programs; no right hangs on any of it.
//!
//! Source: graph-licensing.md section 4.2.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    AssignmentError, Gone, Group, GroupId, Licence, Path, PathState, Processing, SkuId, TenantView,
    UserId, Via,
};

/// Microsoft normally needs minutes, and a day is when its support is to be asked.
///
/// Source: graph-licensing.md section 4.2, "speed".
const LONG: SignedDuration = SignedDuration::from_hours(24);

/// How a user stands with one SKU of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByGroup {
    /// He has the licence by the group; a last change may have failed.
    Seat(Option<AssignmentError>),
    /// He has the licence by the group, and we never saw him as its member: he joined since members
    /// were read last, or the group hides its members from us.
    Unseen(Option<AssignmentError>),
    /// Microsoft could not assign it.
    InError(Option<AssignmentError>),
    /// He is a member and has no licence by it yet; since when, if we saw him come.
    Waiting(Option<Timestamp>),
    /// He left, and the licence is still there; since when.
    Leaving(Option<Timestamp>),
    /// The group is gone, and the licence is still there.
    GroupGone(Gone),
    /// The group no longer carries the SKU, and the licence is still there.
    TakenOff,
}

impl ByGroup {
    /// The word that programs rely on.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Seat(_) | Self::Unseen(_) => "seat",
            Self::InError(_) => "in_error",
            Self::Waiting(_) => "waiting",
            Self::Leaving(_) => "leaving",
            Self::GroupGone(_) => "group_gone",
            Self::TakenOff => "taken_off",
        }
    }

    /// Since when, if we know.
    pub const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting(since) | Self::Leaving(since) => *since,
            Self::Seat(_)
            | Self::Unseen(_)
            | Self::InError(_)
            | Self::GroupGone(_)
            | Self::TakenOff => None,
        }
    }

    /// What Microsoft says is wrong.
    pub const fn error(&self) -> Option<&AssignmentError> {
        match self {
            Self::Seat(error) | Self::Unseen(error) | Self::InError(error) => error.as_ref(),
            Self::Waiting(_) | Self::Leaving(_) | Self::GroupGone(_) | Self::TakenOff => None,
        }
    }

    /// What it means, as a sentence.
    pub fn meaning(&self, group: &Group, now: Timestamp) -> String {
        let long = |since: &Option<Timestamp>| since.is_none_or(|at| now.duration_since(at) > LONG);
        match self {
            Self::Seat(None) => "has the licence through this group".to_owned(),
            Self::Unseen(None) => {
                "has the licence through this group; membership not read yet, or \
                                   hidden"
                    .to_owned()
            }
            Self::Seat(Some(error)) | Self::Unseen(Some(error)) => {
                format!(
                    "has the licence through this group; its last change failed: {}",
                    error.meaning()
                )
            }
            Self::InError(None) => "could not be assigned; Microsoft names no error".to_owned(),
            Self::InError(Some(error)) => format!("{}: {}", error.meaning(), error.remedy()),
            Self::Waiting(since) if long(since) => {
                "member without licence, for longer than Microsoft takes: is the user deleted or \
                 blocked? otherwise reprocess the group in Entra"
                    .to_owned()
            }
            Self::Waiting(_) => match &group.processing {
                Some(Processing::Queued) => "member; the group waits to be processed".to_owned(),
                Some(Processing::InProgress) => "member; the group is being processed".to_owned(),
                Some(Processing::Complete | Processing::Unrecognized(_)) | None => {
                    "member; Microsoft assigns the licence some time later, normally within minutes"
                        .to_owned()
                }
            },
            Self::Leaving(_) => {
                "left the group; the licence counts until Microsoft's job has taken it away"
                    .to_owned()
            }
            Self::GroupGone(Gone::Deleted | Gone::Purged) => {
                "the group is deleted; the licence counts until Microsoft's job has taken it away"
                    .to_owned()
            }
            Self::GroupGone(Gone::NotShown) => {
                "Microsoft does not show the group: it is deleted, or hidden from us".to_owned()
            }
            Self::TakenOff => {
                "the group no longer carries the licence; it counts until Microsoft's job has \
                 taken it away"
                    .to_owned()
            }
        }
    }
}

/// What is said of a group that is a member: nothing passes through it.
pub const NESTED: &str = "a group as member: licences are not passed on, its members get none";

/// How a user stands with a group, for one of its SKUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserByGroup {
    /// Who.
    pub user: UserId,
    /// Which SKU.
    pub sku: SkuId,
    /// How.
    pub standing: ByGroup,
}

/// A group in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Users who are direct members.
    pub members: usize,
    /// Users who hold a licence of ours by it.
    pub seats: usize,
    /// Users whose path by it is in error.
    pub in_error: usize,
    /// Members who wait for a licence.
    pub waiting: usize,
    /// Users who keep a licence that goes: they left, or the group or its licence went.
    pub leaving: usize,
}

/// The licences that came by this group, per user.
type ByUser = BTreeMap<(UserId, SkuId), Path>;

/// All paths of a tenant's users by group: one pass for all of them.
pub fn paths_by_group(view: &TenantView) -> BTreeMap<GroupId, ByUser> {
    let mut all: BTreeMap<GroupId, ByUser> = BTreeMap::new();
    for (user, held) in view.users.iter() {
        for Licence { sku, paths, .. } in held.licences {
            for path in paths {
                if let Via::Group(group) = path.via {
                    all.entry(group).or_default().insert((user, sku), path);
                }
            }
        }
    }
    all
}

/// How everybody stands with a group, by user.
pub fn standings(group: &Group, paths: Option<&ByUser>) -> Vec<UserByGroup> {
    let mut found: BTreeMap<(UserId, SkuId), ByGroup> = BTreeMap::new();
    for (key, path) in paths.into_iter().flatten() {
        found.insert(*key, of_path(group, *key, path));
    }
    if group.gone.is_none() {
        for (user, membership) in group.members.iter().filter(|(_, it)| it.here) {
            for licence in &group.licences {
                // Both the member and the licence must be there: the later of the two counts.
                let since = membership.since.max(licence.since);
                found.entry((user, licence.sku)).or_insert(ByGroup::Waiting(since));
            }
        }
    }
    let one = |((user, sku), standing)| UserByGroup { user, sku, standing };
    found.into_iter().map(one).collect()
}

fn of_path(group: &Group, (user, sku): (UserId, SkuId), path: &Path) -> ByGroup {
    let error = path.error.as_deref().and_then(AssignmentError::from_word);
    if path.state == PathState::Error {
        return ByGroup::InError(error);
    }
    if let Some((gone, _)) = group.gone {
        return ByGroup::GroupGone(gone);
    }
    if group.licence(sku).is_none() {
        return ByGroup::TakenOff;
    }
    match group.members.get(user) {
        Some(it) if it.here => ByGroup::Seat(error),
        Some(it) => ByGroup::Leaving(it.since),
        None => ByGroup::Unseen(error),
    }
}

impl Head {
    /// The figures of these standings.
    pub fn of(group: &Group, standings: &[UserByGroup]) -> Self {
        let count = |wanted: fn(&ByGroup) -> bool| {
            let users = standings.iter().filter(|it| wanted(&it.standing)).map(|it| it.user);
            users.collect::<std::collections::BTreeSet<_>>().len()
        };
        Self {
            members: group.members.count(),
            seats: count(|it| matches!(it, ByGroup::Seat(_) | ByGroup::Unseen(_))),
            in_error: count(|it| matches!(it, ByGroup::InError(_))),
            waiting: count(|it| matches!(it, ByGroup::Waiting(_))),
            leaving: count(|it| {
                matches!(it, ByGroup::Leaving(_) | ByGroup::GroupGone(_) | ByGroup::TakenOff)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GroupLicence, Members, Membership};
    use uuid::Uuid;

    fn user(n: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(n))
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3_600).unwrap()
    }

    fn group(members: &[(u128, bool, Option<i64>)]) -> Group {
        let sku = SkuId::from_uuid(Uuid::from_u128(5));
        let one = |(n, here, hour): &(u128, bool, Option<i64>)| {
            (user(*n), Membership { here: *here, since: hour.map(at) })
        };
        Group {
            licences: vec![GroupLicence { sku, disabled_plans: Vec::new(), since: Some(at(3)) }],
            members: Members::new(members.iter().map(one)),
            ..Group::unread(GroupId::from_uuid(Uuid::from_u128(9)))
        }
    }

    fn paths(of: &[(u128, &str, &str)]) -> ByUser {
        let sku = SkuId::from_uuid(Uuid::from_u128(5));
        let path = |(n, state, error): &(u128, &str, &str)| {
            let error = Some(*error).filter(|it| !it.is_empty()).map(Into::into);
            let state = PathState::from_word(state);
            let via = Via::Group(GroupId::from_uuid(Uuid::from_u128(9)));
            ((user(*n), sku), Path { via, state, error, disabled_plans: Vec::new() })
        };
        of.iter().map(path).collect()
    }

    fn words(group: &Group, paths: &ByUser) -> Vec<(u128, &'static str, Option<Timestamp>)> {
        let all = standings(group, Some(paths));
        let word = |it: &UserByGroup| {
            (it.user.as_uuid().as_u128(), it.standing.as_str(), it.standing.since())
        };
        all.iter().map(word).collect()
    }

    #[test]
    fn membership_and_licence_are_told_apart_in_both_directions() {
        let it = group(&[
            (1, true, None),
            (2, true, Some(7)),
            (3, true, Some(1)),
            (4, false, Some(8)),
            (5, true, None),
        ]);
        let by = paths(&[
            (1, "Active", ""),
            (4, "Active", ""),
            (5, "Error", "CountViolation"),
            (6, "Active", "None"),
        ]);
        let wanted = [
            (1, "seat", None),
            (2, "waiting", Some(at(7))),
            (3, "waiting", Some(at(3))),
            (4, "leaving", Some(at(8))),
            (5, "in_error", None),
            (6, "seat", None),
        ];
        assert_eq!(words(&it, &by), wanted);
        let head = Head::of(&it, &standings(&it, Some(&by)));
        assert_eq!(head, Head { members: 4, seats: 2, in_error: 1, waiting: 2, leaving: 1 });
        let unseen = standings(&it, Some(&by)).pop().unwrap().standing;
        assert!(unseen.meaning(&it, at(9)).contains("not read yet, or hidden"));
    }

    #[test]
    fn what_became_of_the_group_explains_what_is_left() {
        let by = paths(&[(1, "Active", "")]);
        let gone = Group {
            gone: Some((Gone::Deleted, at(9))),
            ..group(&[(1, true, None), (2, true, None)])
        };
        assert_eq!(words(&gone, &by), [(1, "group_gone", None)]);
        let bare = Group { licences: Vec::new(), ..group(&[(1, true, None), (2, true, None)]) };
        assert_eq!(words(&bare, &by), [(1, "taken_off", None)]);
    }

    #[test]
    fn who_waits_hears_why_and_what_helps_when_it_takes_too_long() {
        let mut it = group(&[]);
        let waits = ByGroup::Waiting(Some(at(10)));
        assert!(waits.meaning(&it, at(11)).contains("within minutes"));
        it.processing = Some(Processing::Queued);
        assert!(waits.meaning(&it, at(11)).contains("waits to be processed"));
        it.processing = Some(Processing::InProgress);
        assert!(waits.meaning(&it, at(11)).contains("being processed"));
        assert!(waits.meaning(&it, at(35)).contains("reprocess"));
        let wrong = ByGroup::InError(AssignmentError::from_word("CountViolation"));
        assert!(wrong.meaning(&it, at(1)).contains("no seat was free"));
    }
}
