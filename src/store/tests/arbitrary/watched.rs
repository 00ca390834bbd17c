//! Subscriptions to Graph's change notifications with anything in them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{tenant_id, text, time};
use crate::domain::{ClientState, GraphSubscription, GraphSubscriptionWrite, Watched};

pub(super) fn writes() -> BoxedStrategy<Vec<GraphSubscriptionWrite>> {
    let key = || (tenant_id(), select(Watched::ALL.to_vec()));
    // An id is of one subscription.
    let id = any::<u128>().prop_map(|it| Arc::<str>::from(format!("{it:x}")));
    let put = (key(), id, any::<[u8; 32]>(), text(), time(), time()).prop_map(
        |((tenant, watched), id, state, url, renewed, expires)| {
            let client_state = ClientState::new(state);
            GraphSubscriptionWrite::Put(Arc::new(GraphSubscription {
                tenant,
                watched,
                id,
                client_state,
                url,
                renewed,
                expires,
            }))
        },
    );
    let forget =
        key().prop_map(|(tenant, watched)| GraphSubscriptionWrite::Forget(tenant, watched));
    vec(prop_oneof![3 => put, 1 => forget], 0..3).boxed()
}
