//! Version 1: licensed groups, and who uses what. Members and pseudonyms are buckets of their own,
//! whose bytes are the domain's.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, moment, shared, text, text_option, time, uuid};
use crate::domain::{
    Feed, Gone, Group, GroupId, GroupLicence, Groups, Members, Point, Processing, Series,
    ServicePlanId, SkuId,
};
use crate::store::StoreError;

/// How far the groups of a tenant were read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct GroupsV1 {
    feeds: Vec<FeedV1>,
    left_out: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FeedV1 {
    groups: Vec<IdV1>,
    cursor: String,
    issued: TimeV1,
}

impl From<&Groups> for GroupsV1 {
    fn from(it: &Groups) -> Self {
        let feed = |it: &Feed| FeedV1 {
            groups: it.groups.iter().map(|it| id(it.as_uuid())).collect(),
            cursor: text(&it.cursor.0),
            issued: it.cursor.1.into(),
        };
        Self { feeds: it.feeds.iter().map(feed).collect(), left_out: it.left_out }
    }
}

impl TryFrom<GroupsV1> for Groups {
    type Error = StoreError;

    fn try_from(it: GroupsV1) -> Result<Self, StoreError> {
        let feed = |it: FeedV1| -> Result<Feed, StoreError> {
            let groups = it.groups.into_iter().map(|it| GroupId::from_uuid(uuid(it))).collect();
            Ok(Feed { groups, cursor: (it.cursor.into(), it.issued.try_into()?) })
        };
        let feeds = it.feeds.into_iter().map(feed).collect::<Result<_, _>>()?;
        Ok(Self { feeds, left_out: it.left_out, ..Self::default() })
    }
}

/// A group without its members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct GroupV1 {
    name: Option<String>,
    licences: Vec<(IdV1, Vec<IdV1>, Option<TimeV1>)>,
    dynamic: bool,
    processing: Option<String>,
    unfinished_since: Option<TimeV1>,
    gone: Option<(GoneV1, TimeV1)>,
    nested: Vec<IdV1>,
    /// Buckets of members, and the entries in them.
    pub(in crate::store) members: CountV1,
}

/// How many buckets a table has, and how many entries are in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct CountV1 {
    pub(in crate::store) buckets: u64,
    pub(in crate::store) entries: u64,
}

impl CountV1 {
    pub(in crate::store) fn of(buckets: usize, entries: usize) -> Self {
        let wide = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        Self { buckets: wide(buckets), entries: wide(entries) }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum GoneV1 {
    Deleted,
    Purged,
    NotShown,
}

impl From<&Group> for GroupV1 {
    fn from(it: &Group) -> Self {
        let licence = |it: &GroupLicence| {
            let plans = it.disabled_plans.iter().map(|it| id(it.as_uuid())).collect();
            (id(it.sku.as_uuid()), plans, time(it.since))
        };
        let gone = |(gone, at): (Gone, Timestamp)| {
            let gone = match gone {
                Gone::Deleted => GoneV1::Deleted,
                Gone::Purged => GoneV1::Purged,
                Gone::NotShown => GoneV1::NotShown,
            };
            (gone, at.into())
        };
        Self {
            name: text_option(it.name.as_ref()),
            licences: it.licences.iter().map(licence).collect(),
            dynamic: it.dynamic,
            processing: it.processing.as_ref().map(|it| it.as_str().to_owned()),
            unfinished_since: time(it.unfinished_since),
            gone: it.gone.map(gone),
            nested: it.nested.iter().map(|it| id(it.as_uuid())).collect(),
            members: CountV1::of(it.members.buckets().len(), it.members.entries()),
        }
    }
}

impl GroupV1 {
    /// The group, with its members.
    pub(in crate::store) fn with(
        self,
        group: GroupId,
        members: Members,
    ) -> Result<Group, StoreError> {
        let licence = |(sku, plans, since): (IdV1, Vec<IdV1>, Option<TimeV1>)| {
            let plans = plans.into_iter().map(|it| ServicePlanId::from_uuid(uuid(it)));
            Ok(GroupLicence {
                sku: SkuId::from_uuid(uuid(sku)),
                disabled_plans: plans.collect(),
                since: moment(since)?,
            })
        };
        let gone = |(gone, at): (GoneV1, TimeV1)| -> Result<(Gone, Timestamp), StoreError> {
            let gone = match gone {
                GoneV1::Deleted => Gone::Deleted,
                GoneV1::Purged => Gone::Purged,
                GoneV1::NotShown => Gone::NotShown,
            };
            Ok((gone, at.try_into()?))
        };
        let licences: Result<Vec<GroupLicence>, StoreError> =
            self.licences.into_iter().map(licence).collect();
        Ok(Group {
            id: group,
            name: shared(self.name),
            licences: licences?,
            dynamic: self.dynamic,
            processing: self.processing.map(|it| Processing::from_word(&it)),
            unfinished_since: moment(self.unfinished_since)?,
            gone: self.gone.map(gone).transpose()?,
            nested: self.nested.into_iter().map(|it| GroupId::from_uuid(uuid(it))).collect(),
            members,
        })
    }
}

/// The days of a SKU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct SeriesV1 {
    points: Vec<(u16, u32, u32)>,
    told_short: bool,
}

impl From<&Arc<Series>> for SeriesV1 {
    fn from(it: &Arc<Series>) -> Self {
        let points = it.points().iter().map(|it| (it.day, it.bought, it.assigned)).collect();
        Self { points, told_short: it.told_short }
    }
}

impl From<SeriesV1> for Series {
    fn from(it: SeriesV1) -> Self {
        let point = |(day, bought, assigned)| Point { day, bought, assigned };
        Self::new(it.points.into_iter().map(point).collect(), it.told_short)
    }
}
