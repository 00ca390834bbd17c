//! Subscriptions that could not be read, with anything in them.

use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;

use super::{subscription_id, tenant_id, text, time};
use crate::domain::{Unread, Whose};

/// Its key is that of the commit.
fn unread() -> BoxedStrategy<Unread> {
    let whose = prop_oneof![
        tenant_id().prop_map(Whose::Tenant),
        Just(Whose::Anybody),
        Just(Whose::Nobody),
    ];
    let id = option::of(subscription_id());
    ("[a-c]", id, whose, option::of(text()), option::of(text()), time(), text())
        .prop_map(|(key, id, whose, offer, plan, since, why)| Unread {
            key: key.into(),
            id,
            whose,
            offer,
            plan,
            since,
            why,
        })
        .boxed()
}

pub(super) fn write() -> BoxedStrategy<(Arc<str>, Option<Unread>)> {
    prop_oneof![
        3 => unread().prop_map(|it| (Arc::clone(&it.key), Some(it))),
        1 => "[a-c]".prop_map(|key| (Arc::from(key), None)),
    ]
    .boxed()
}
