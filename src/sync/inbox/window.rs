//! The seconds in which Microsoft waits for our word: asking again beside a question that gets no
//! answer, and an end in time. Time is handed in.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

/// How long an answer is waited for before the same is asked once more beside it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often the same is asked.
const ASKS_MAX: u32 = 4;

/// Asks, and asks again beside it as long as no answer comes: a connection that hangs must not cost
/// the whole window. The first answer counts; an error does once nothing else is under way. While
/// `hold_back` says so nothing more is asked.
pub(super) async fn first<T, E, Asked, Slept>(
    ask: impl Fn() -> Asked,
    sleep: impl Fn(Duration) -> Slept,
    hold_back: impl Fn() -> bool,
) -> Result<T, E>
where
    Asked: Future<Output = Result<T, E>>,
    Slept: Future<Output = ()>,
{
    let mut under_way = FuturesUnordered::new();
    under_way.push(ask());
    let mut asks = 1;
    loop {
        tokio::select! {
            biased;
            Some(answer) = under_way.next() => match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if under_way.is_empty() => return Err(error),
                Err(_another_may_come) => {}
            },
            () = sleep(PATIENCE), if asks < ASKS_MAX => {
                asks += 1;
                if !hold_back() {
                    under_way.push(ask());
                }
            }
        }
    }
}

/// The work's outcome, if there is one before the end. Nothing is begun at the end or after it.
pub(super) async fn within<T>(
    end: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = end => None,
        outcome = work => Some(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    /// A time that passes only when everybody waits for it.
    #[derive(Clone, Default)]
    struct Time(Rc<Clock>);

    #[derive(Default)]
    struct Clock {
        now: Cell<Duration>,
        due: RefCell<BTreeMap<Duration, Vec<Waker>>>,
    }

    impl Time {
        fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + use<> {
            let (clock, until) = (Rc::clone(&self.0), self.0.now.get() + wait);
            std::future::poll_fn(move |context| {
                if clock.now.get() >= until {
                    return Poll::Ready(());
                }
                clock.due.borrow_mut().entry(until).or_default().push(context.waker().clone());
                Poll::Pending
            })
        }

        fn run<T>(&self, work: impl Future<Output = T>) -> T {
            let mut work = pin!(work);
            let mut context = Context::from_waker(Waker::noop());
            loop {
                if let Poll::Ready(outcome) = work.as_mut().poll(&mut context) {
                    return outcome;
                }
                let due = self.0.due.borrow_mut().pop_first();
                let (now, wakers) = due.expect("somebody waits for ever");
                self.0.now.set(now);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// When our word is sent, in ms: 9 s are left, and the operation is read after this long by
    /// each of the questions, `None` for an error.
    fn sent(reads: &[(u64, bool)], throttled: bool) -> Option<u128> {
        let (time, asks) = (Time::default(), Cell::new(0));
        let ask = || {
            let (wait, good) = reads[asks.replace(asks.get() + 1).min(reads.len() - 1)];
            let slept = time.sleep(Duration::from_millis(wait));
            async move {
                slept.await;
                if good { Ok(()) } else { Err(()) }
            }
        };
        let work = async {
            first(ask, |it| time.sleep(it), || throttled).await.ok()?;
            Some(time.0.now.get().as_millis())
        };
        let end = time.sleep(Duration::from_secs(9));
        let sent = time.run(within(end, work)).flatten();
        assert!(asks.get() <= 4, "Microsoft is not flooded");
        sent
    }

    #[test]
    fn our_word_is_sent_in_time_however_slow_the_operation_is_read_and_never_later() {
        const HANGS: (u64, bool) = (60_000, true);
        let check = |reads: &[(u64, bool)], at| assert_eq!(sent(reads, false), at, "{reads:?}");
        check(&[(50, true)], Some(50));
        check(&[(1_999, true)], Some(1_999));
        // Slow, but each as slow as the other: the first one comes first.
        check(&[(5_000, true)], Some(5_000));
        check(&[(8_999, true)], Some(8_999));
        // One, two and three of them hang.
        check(&[HANGS, (50, true)], Some(2_050));
        check(&[HANGS, HANGS, (50, true)], Some(4_050));
        check(&[HANGS, HANGS, HANGS, (2_900, true)], Some(8_900));
        // Errors are waited out while another may still answer.
        check(&[HANGS, (10, false), (10, true)], Some(4_020));
        check(&[(3_000, false), (2_000, true)], Some(4_000));
        check(&[(30, false)], None);
        // At the end and after it nothing is sent.
        check(&[(9_000, true)], None);
        check(&[HANGS], None);
        check(&[HANGS, HANGS, HANGS, (3_000, true)], None);
    }

    #[test]
    fn when_microsoft_asks_us_to_wait_nothing_is_asked_beside_it() {
        assert_eq!(sent(&[(60_000, true), (50, true)], true), None);
        assert_eq!(sent(&[(7_000, true), (50, true)], true), Some(7_000));
    }
}
