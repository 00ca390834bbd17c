//! Usage and events on their way out, anything in them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::arbitrary::{some_time, subscription_id, text, time};
use crate::domain::{
    Delivery, DeliveryState, DeliveryWrite, NoticeKind, NoticeNumber, Quantity, UsageAnswer,
    UsageEvent, UsageId, UsageKey, UsageState, UsageWrite,
};

fn usage_state() -> BoxedStrategy<UsageState> {
    let word = || option::of(text());
    prop_oneof![
        Just(UsageState::Open),
        Just(UsageState::Closed),
        (time(), word()).prop_map(|(at, reference)| UsageState::Sent { at, reference }),
        (time(), word(), any::<bool>()).prop_map(|(at, accepted, differs)| {
            UsageState::Duplicate { at, accepted, differs }
        }),
        (time(), word(), text()).prop_map(|(at, status, why)| UsageState::Dead { at, status, why }),
    ]
    .boxed()
}

/// Few numbers, so that commits meet.
fn usage_event() -> BoxedStrategy<UsageEvent> {
    let key = (subscription_id(), text(), time())
        .prop_map(|(subscription, dimension, hour)| UsageKey { subscription, dimension, hour });
    let counts = (1_u64..1 << 50, any::<u32>(), any::<u32>());
    let texts = (text(), text());
    (0_u64..4, key, texts, (time(), time(), time()), counts, usage_state())
        .prop_map(|(id, key, (plan, caller), times, (quantity, reports, tries), state)| {
            UsageEvent {
                id: UsageId(id),
                key,
                plan,
                effective: times.0,
                quantity: Quantity::from_millionths(quantity).unwrap(),
                reports,
                first: times.1,
                last: times.2,
                caller,
                tries,
                state,
            }
        })
        .boxed()
}

/// A digest, of few.
fn digest() -> BoxedStrategy<[u8; 32]> {
    (0_u8..3).prop_map(|it| [it; 32]).boxed()
}

/// What a commit says of usage.
pub(super) fn usage() -> BoxedStrategy<Vec<UsageWrite>> {
    let answer = (digest(), any::<[u8; 32]>(), time(), vec(any::<u8>(), 0..60))
        .prop_map(|(key, body, at, answer)| UsageAnswer { key, body, at, answer: answer.into() });
    let write = prop_oneof![
        4 => usage_event().prop_map(|it| UsageWrite::Put(Arc::new(it))),
        1 => (0_u64..4).prop_map(|it| UsageWrite::Forget(UsageId(it))),
        2 => answer.prop_map(UsageWrite::Remember),
        1 => digest().prop_map(UsageWrite::ForgetAnswer),
    ];
    vec(write, 0..4).boxed()
}

/// What a commit says of events on their way.
pub(super) fn outbox() -> BoxedStrategy<Vec<DeliveryWrite>> {
    let endpoint = || "[a-b]".prop_map(Arc::<str>::from);
    let state = prop_oneof![
        some_time().prop_map(|due| DeliveryState::Waiting { due }),
        time().prop_map(|at| DeliveryState::Sent { at }),
        time().prop_map(|at| DeliveryState::Dead { at }),
    ];
    let texts = (text(), text(), prop_oneof!["\\PC{0,60}", "[a-z]{3900,9000}"]);
    let tries = (any::<u32>(), some_time(), some_time(), option::of(text()));
    let what = (0_u64..5, endpoint(), select(NoticeKind::ALL), time());
    let put = (what, texts, tries, state).prop_map(|(what, (id, subject, body), tries, state)| {
        DeliveryWrite::Put(Arc::new(Delivery {
            number: NoticeNumber(what.0),
            endpoint: what.1,
            id,
            kind: what.2,
            subject,
            at: what.3,
            body: body.into(),
            tries: tries.0,
            first_try: tries.1,
            last_try: tries.2,
            error: tries.3,
            state,
        }))
    });
    let forget = (0_u64..5, endpoint())
        .prop_map(|(number, endpoint)| DeliveryWrite::Forget(NoticeNumber(number), endpoint));
    vec(prop_oneof![3 => put, 1 => forget], 0..4).boxed()
}
