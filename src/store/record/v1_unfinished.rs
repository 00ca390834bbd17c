//! Version 1: long readings that are under way.

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, text, uuid};
use crate::domain::{Packed, Said, Sequence, SkuId, Unfinished, UserId};
use crate::store::StoreError;
use crate::store::layout::Kind;

/// How far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct UnfinishedV1 {
    started: TimeV1,
    catalog: u64,
    next: String,
    seen: u64,
    odd: u64,
    passed_over: Vec<IdV1>,
    parts: u32,
}

impl From<&Unfinished> for UnfinishedV1 {
    fn from(it: &Unfinished) -> Self {
        Self {
            started: it.started.into(),
            catalog: it.catalog,
            next: text(&it.next),
            seen: it.seen,
            odd: it.odd,
            passed_over: it.passed_over.iter().map(|it| id(it.as_uuid())).collect(),
            parts: it.parts,
        }
    }
}

impl UnfinishedV1 {
    /// How far a reading of this kind is.
    pub(in crate::store) fn of(self, of: Sequence) -> Result<Unfinished, StoreError> {
        let passed_over = self.passed_over.into_iter().map(|it| SkuId::from_uuid(uuid(it)));
        Ok(Unfinished {
            of,
            started: self.started.try_into()?,
            catalog: self.catalog,
            next: self.next.into(),
            seen: self.seen,
            odd: self.odd,
            passed_over: passed_over.collect(),
            parts: self.parts,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SaidV1 {
    Holds(Vec<u8>),
    Removed,
    Ask,
}

/// Some of the users.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct PartV1(Vec<(IdV1, SaidV1)>);

impl From<&[(UserId, Said)]> for PartV1 {
    fn from(users: &[(UserId, Said)]) -> Self {
        let of = |said: &Said| match said {
            Said::Holds(it) => SaidV1::Holds(it.bytes().to_vec()),
            Said::Removed => SaidV1::Removed,
            Said::Ask => SaidV1::Ask,
        };
        Self(users.iter().map(|(user, said)| (id(user.as_uuid()), of(said))).collect())
    }
}

/// The users of a part.
pub(in crate::store) fn users_of_part(payload: &[u8]) -> Result<Vec<(UserId, Said)>, StoreError> {
    let PartV1(users) = super::decode(Kind::Unfinished, payload)?;
    let bad = |_bad| StoreError::damaged("what a user holds cannot be read");
    let of = |(user, said): (IdV1, SaidV1)| {
        let said = match said {
            SaidV1::Holds(bytes) => Said::Holds(Packed::from_bytes(&bytes).map_err(bad)?),
            SaidV1::Removed => Said::Removed,
            SaidV1::Ask => Said::Ask,
        };
        Ok((UserId::from_uuid(uuid(user)), said))
    };
    users.into_iter().map(of).collect()
}
