//! Who waits, and what may be spent.

use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
}

fn user(n: usize) -> UserId {
    UserId::from_uuid(Uuid::from_u128(u128::try_from(n).unwrap()))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn read() -> End {
    End::Read { changed: Vec::new() }
}

#[test]
fn a_thousand_refusals_of_one_user_are_one_look_up() {
    let mut queue = Queue::default();
    assert_eq!(queue.want(tenant(1), user(1), at(0)), Wish::Queued(5));
    for _ in 0..999 {
        assert_eq!(queue.want(tenant(1), user(1), at(0)), Wish::Joined(5));
    }
    assert_eq!(queue.next(at(0)), Next::Batch(tenant(1), vec![user(1)]));
    assert_eq!(queue.want(tenant(1), user(1), at(1)), Wish::Joined(5), "while under way");
    assert_eq!(queue.next(at(1)), Next::Idle);
    queue.done(tenant(1), &[user(1)], &read(), at(1));
    assert_eq!((queue.next(at(1)), queue.waiting()), (Next::Idle, 0));
    assert_eq!(queue.want(tenant(1), user(1), at(2)), Wish::Lately(60));
    assert_eq!(queue.want(tenant(1), user(1), at(60)), Wish::Lately(30));
    assert_eq!(queue.want(tenant(1), user(1), at(61)), Wish::Queued(10));
}

#[test]
fn who_asks_every_second_costs_five_requests_in_an_hour_and_two_in_each_after() {
    let mut queue = Queue::default();
    let mut looked = Vec::new();
    for second in 0..4 * 3_600 {
        queue.want(tenant(1), user(1), at(second));
        if let Next::Batch(tenant, users) = queue.next(at(second)) {
            looked.push(second);
            queue.done(tenant, &users, &read(), at(second));
        }
    }
    assert_eq!(looked[..5], [0, 60, 360, 1_260, 3_060]);
    let in_hour = |hour: i64| looked.iter().filter(|it| **it / 3_600 == hour).count();
    assert_eq!([in_hour(0), in_hour(1), in_hour(2), in_hour(3)], [5, 2, 2, 2]);
}

#[test]
fn who_got_what_he_wanted_or_was_quiet_begins_afresh() {
    let mut queue = Queue::default();
    let mut once = |second, end: End| {
        let wish = queue.want(tenant(1), user(1), at(second));
        if let Next::Batch(tenant, users) = queue.next(at(second)) {
            queue.done(tenant, &users, &end, at(second));
        }
        wish
    };
    once(0, read());
    assert_eq!(once(100, End::Read { changed: vec![user(1)] }), Wish::Queued(10));
    assert_eq!(once(101, read()), Wish::Queued(5), "something changed for him");
    assert_eq!(once(102, read()), Wish::Lately(60));
    assert_eq!(once(102 + 6 * 3_600, read()), Wish::Queued(5), "long ago");
    assert_eq!(once(-9_000, read()), Wish::Queued(5), "the clock was set back");
}

#[test]
fn more_than_ten_thousand_do_not_wait_and_nobody_is_blocked() {
    let mut queue = Queue::default();
    for it in 0..WAITING_MAX {
        assert_eq!(queue.want(tenant(1), user(it), at(0)).word(), "queued");
    }
    assert_eq!(queue.want(tenant(2), user(0), at(0)), Wish::Overflow);
    assert_eq!(queue.want(tenant(1), user(7), at(0)).word(), "joined");
    let Next::Batch(_, users) = queue.next(at(0)) else { panic!() };
    assert_eq!(users.len(), BATCH_MAX);
    assert_eq!(queue.want(tenant(2), user(0), at(0)).word(), "queued");
}

#[test]
fn a_crowd_in_one_tenant_holds_up_no_other_and_stays_within_its_budget() {
    let mut queue = Queue::default();
    for it in 0..5_000 {
        queue.want(tenant(1), user(it), at(0));
    }
    queue.want(tenant(2), user(1), at(0));
    let Next::Batch(first, users) = queue.next(at(0)) else { panic!() };
    assert_eq!(queue.next(at(0)), Next::Batch(tenant(2), vec![user(1)]));
    assert_eq!(queue.next(at(0)), Next::Idle, "one batch of a tenant at a time");
    queue.done(first, &users, &read(), at(0));
    let mut looked = users.len();
    let mut step = |second, queue: &mut Queue| {
        while let Next::Batch(tenant, users) = queue.next(at(second)) {
            looked += users.len();
            queue.done(tenant, &users, &read(), at(second));
        }
        looked
    };
    assert_eq!(step(0, &mut queue), 350, "the burst");
    assert!(matches!(queue.next(at(0)), Next::Wait(wait) if wait < Duration::from_millis(30)));
    assert_eq!(step(10, &mut queue), 700, "and 35 in a second");
}

#[test]
fn a_tenant_that_refuses_rests_and_nobody_of_it_waits_meanwhile() {
    let mut queue = Queue::default();
    for it in 0..50 {
        queue.want(tenant(1), user(it), at(0));
    }
    let Next::Batch(tenant, users) = queue.next(at(0)) else { panic!() };
    queue.done(tenant, &users, &End::Rests(SignedDuration::from_hours(1)), at(0));
    assert_eq!((queue.waiting(), queue.next(at(1))), (0, Next::Idle));
    assert_eq!(queue.want(tenant, user(40), at(3_599)), Wish::Rests);
    assert_eq!(queue.want(tenant, user(40), at(3_600)), Wish::Queued(5));
}

proptest! {
    #[test]
    fn every_wish_is_served_once_and_what_waits_is_counted(
        wishes in prop::collection::vec((0_u128..6, 0_usize..60, 0_i64..3), 1..300),
    ) {
        let mut queue = Queue::default();
        let (mut now, mut queued, mut served) = (0, 0, 0);
        let mut under_way = VecDeque::new();
        for (at_tenant, at_user, step) in wishes {
            now += step;
            let wish = queue.want(tenant(at_tenant + 1), user(at_user), at(now));
            queued += usize::from(matches!(wish, Wish::Queued(_)));
            if step == 1 && let Next::Batch(tenant, users) = queue.next(at(now)) {
                prop_assert!(under_way.iter().all(|(it, _)| *it != tenant));
                served += users.len();
                under_way.push_back((tenant, users));
            }
            if step == 2 && let Some((tenant, users)) = under_way.pop_front() {
                queue.done(tenant, &users, &read(), at(now));
            }
            prop_assert_eq!(queue.waiting(), queued - served);
        }
        for (tenant, users) in under_way {
            queue.done(tenant, &users, &read(), at(now));
        }
        loop {
            match queue.next(at(now)) {
                Next::Batch(tenant, users) => {
                    served += users.len();
                    queue.done(tenant, &users, &read(), at(now));
                }
                Next::Wait(_) => now += 1,
                Next::Idle => break,
            }
        }
        prop_assert_eq!((queued, queue.waiting()), (served, 0));
    }
}

#[test]
fn who_was_told_of_is_looked_up_though_he_was_lately_and_once_more_if_he_is_under_way() {
    let mut queue = Queue::default();
    assert!(queue.told(tenant(1), user(1), at(0), at(1)));
    assert!(queue.told(tenant(1), user(1), at(1), at(1)), "he waits already");
    assert_eq!(queue.next(at(1)), Next::Batch(tenant(1), vec![user(1)]));
    assert_eq!(queue.told_at(tenant(1), user(1)), Some(at(0)), "the first");
    // Whether the look-up under way is newer than this nobody knows.
    assert!(queue.told(tenant(1), user(1), at(2), at(2)));
    queue.done(tenant(1), &[user(1)], &read(), at(3));
    assert_eq!(queue.next(at(3)), Next::Batch(tenant(1), vec![user(1)]));
    assert_eq!(queue.told_at(tenant(1), user(1)), Some(at(2)));
    queue.done(tenant(1), &[user(1)], &read(), at(3));
    assert_eq!((queue.next(at(3)), queue.waiting()), (Next::Idle, 0));
    assert_eq!(queue.told_at(tenant(1), user(1)), None);
    assert_eq!(queue.want(tenant(1), user(1), at(3)), Wish::Queued(5), "told is not refused");
    assert_eq!(queue.next(at(3)), Next::Batch(tenant(1), vec![user(1)]));
    queue.done(tenant(1), &[user(1)], &read(), at(3));
    assert_eq!(queue.want(tenant(1), user(1), at(4)), Wish::Lately(60));
    assert!(queue.told(tenant(1), user(1), at(4), at(4)), "now there is news");
    assert_eq!(queue.next(at(4)), Next::Batch(tenant(1), vec![user(1)]));
}

#[test]
fn who_was_told_of_while_the_tenant_rests_or_too_many_wait_is_left_to_a_run() {
    let mut queue = Queue::default();
    assert!(queue.told(tenant(1), user(1), at(0), at(0)));
    assert_eq!(queue.next(at(0)), Next::Batch(tenant(1), vec![user(1)]));
    assert!(queue.told(tenant(1), user(1), at(0), at(0)));
    queue.done(tenant(1), &[user(1)], &End::Rests(SignedDuration::from_hours(1)), at(0));
    assert_eq!((queue.next(at(0)), queue.waiting()), (Next::Idle, 0));
    assert!(!queue.told(tenant(1), user(1), at(1), at(1)));
    for it in 0..WAITING_MAX {
        assert!(queue.told(tenant(2), user(it), at(0), at(0)));
    }
    assert!(!queue.told(tenant(3), user(1), at(0), at(0)));
}
