//! Usage rights and what was learned of a tenant, in a commit.

use entitled::domain::{Commit, Mapping, MappingWrite, Right, RightsSource, Target, UserRights};

use super::{now, tenant, user};

/// Usage rights of a user, and what a plan is called in his tenant.
pub(super) fn shown() -> Commit {
    let right = Right {
        identifier: "p.o.q".into(),
        catalog: Some("CFQ:1".into()),
        state: "active".into(),
        bare: None,
    };
    let rights = UserRights::seen(vec![right], now());
    let source = RightsSource { proven: Some(("app".into(), now())), ..RightsSource::default() };
    let target = Target::Right("mscrm.x".into());
    let mapping = Mapping::proposed("p.o.q".parse().unwrap(), target, None, 2, "seen", now());
    Commit {
        rights: vec![(tenant(1), user(3), Some(rights))],
        rights_sources: vec![(tenant(1), source)],
        mappings: vec![(tenant(1), MappingWrite::Propose(mapping))],
        ..Commit::default()
    }
}
