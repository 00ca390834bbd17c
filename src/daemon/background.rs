//! Reading from Microsoft on threads of its own, which give way to those that answer.
//!
//! A page of a thousand users takes milliseconds to parse and to compare. On the threads that answer, a
//! question would wait for it. On threads of lower priority it would still wait: a thread that runs is let
//! run for a slice of 1 to 3 ms, whoever wakes (`RUN_TO_PARITY` of Linux since 6.6). Only `SCHED_IDLE`
//! gives way at once. Where others leave no processor free such a thread hardly runs at all, so
//! [`Background::watch`] lets it have its share for a while when it starves.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use preempt_rt::sched::{self, Pid, Scheduler, SchedulerParams};
use rustix::thread::gettid;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::sync::SyncError;

/// How much the threads give way where they may not give way entirely, and while they have starved: with
/// 10, a thread at the usual priority gets nine tenths of a processor that both want.
///
/// Source: `sched(7)`, "The nice value".
const NICE: i32 = 10;

/// How often it is looked whether they starve.
const LOOKS_APART: Duration = Duration::from_secs(5);

/// How many looks they have their share for, once they starved.
const LOOKS_WITH_SHARE: u32 = 12;

/// A runtime of its own. Dropped, it stops at once, and unlike tokio's also inside another runtime.
#[derive(Debug)]
pub(super) struct Background {
    runtime: Option<Runtime>,
    threads: Arc<Threads>,
}

impl Background {
    /// As many threads as leave the other half of the processors to answers; if not `apart`, none:
    /// what it runs shares the thread of whoever waits for it.
    ///
    /// # Errors
    ///
    /// [`io::Error`]: the system gives no threads.
    pub(super) fn new(apart: bool) -> io::Result<Self> {
        if !apart {
            return Ok(Self { runtime: None, threads: Arc::default() });
        }
        let processors = std::thread::available_parallelism()?.get();
        let threads = Arc::new(Threads { may_idle: may_come_back()?, ..Threads::default() });
        let [begun, woken, ended] = std::array::from_fn(|_| Arc::clone(&threads));
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors.div_ceil(2))
            .thread_name("sync")
            .on_thread_start(move || begun.begin())
            .on_thread_unpark(move || woken.follow())
            .on_thread_stop(move || ended.end())
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), threads })
    }

    /// Runs a future there until its end.
    ///
    /// # Errors
    ///
    /// Its own; [`SyncError::Panicked`].
    pub(super) async fn run<T: Send + 'static>(
        self,
        future: impl Future<Output = Result<T, SyncError>> + Send + 'static,
    ) -> Result<T, SyncError> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(future).await.map_err(SyncError::Panicked).flatten(),
            None => future.await,
        }
    }

    /// Looks until cancelled whether the threads starve, and gives them their share while they do.
    pub(super) fn watch(&self, cancel: CancellationToken) -> impl Future<Output = ()> + use<> {
        let threads = Arc::clone(&self.threads);
        async move {
            let mut starving = Starving::default();
            while cancel.run_until_cancelled(sleep(LOOKS_APART)).await.is_some() {
                threads.look(&mut starving);
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The threads of a [`Background`].
#[derive(Debug, Default)]
struct Threads {
    /// Whether they may give way entirely: the system lets them come back from it.
    may_idle: bool,
    /// Whether they have their share, because they starved.
    have_share: AtomicBool,
    /// Those that live, by the system's number.
    alive: Mutex<BTreeSet<i32>>,
}

thread_local! {
    /// What the calling thread is scheduled as.
    static SCHEDULED_AS: Cell<Scheduler> = const { Cell::new(Scheduler::SCHED_NORMAL) };
}

impl Threads {
    fn begin(&self) {
        give_way();
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).insert(number());
        self.follow();
    }

    fn end(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).remove(&number());
    }

    /// The calling thread does as is wished. Only a thread itself can: one that plans a large tenant ends
    /// that first.
    fn follow(&self) {
        let idle = self.may_idle && !self.have_share.load(Ordering::Relaxed);
        let wished = if idle { Scheduler::SCHED_IDLE } else { Scheduler::SCHED_NORMAL };
        if SCHEDULED_AS.get() != wished && schedule(wished) {
            SCHEDULED_AS.set(wished);
        }
    }

    fn look(&self, starving: &mut Starving) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let times = alive.into_iter().filter_map(|it| Some((it, Times::of(it)?))).collect();
        let have_share = starving.look(times);
        if self.have_share.swap(have_share, Ordering::Relaxed) != have_share {
            debug!(have_share, "Reading from Microsoft gives way to answers otherwise than before");
        }
    }
}

fn number() -> i32 {
    gettid().as_raw_pid()
}

/// Since its start, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    ran: u64,
    waited: u64,
}

impl Times {
    /// Of a thread of this process. `None` where the system does not tell.
    ///
    /// Source: Linux, `Documentation/scheduler/sched-stats.rst`, `/proc/<pid>/schedstat`.
    fn of(thread: i32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        let mut words = text.split_whitespace().map(str::parse);
        Some(Self { ran: words.next()?.ok()?, waited: words.next()?.ok()? })
    }
}

/// What the last look saw.
#[derive(Debug, Default)]
struct Starving {
    times: BTreeMap<i32, Times>,
    /// How many looks more they have their share for.
    looks: u32,
}

impl Starving {
    /// Whether the threads are to have their share until the next look. A thread starves that waited for a
    /// processor for more than half of the time, and ran for less than a tenth of it.
    fn look(&mut self, times: BTreeMap<i32, Times>) -> bool {
        let whole = u64::try_from(LOOKS_APART.as_nanos()).unwrap_or(u64::MAX);
        let starves = times.iter().any(|(thread, now)| {
            let Some(then) = self.times.get(thread) else { return false };
            let ran = now.ran.saturating_sub(then.ran);
            let waited = now.waited.saturating_sub(then.waited);
            waited > whole / 2 && ran < whole / 10
        });
        self.times = times;
        self.looks = if starves { LOOKS_WITH_SHARE } else { self.looks.saturating_sub(1) };
        self.looks > 0
    }
}

/// Of the calling thread alone, as Linux does it. What a system does not allow is done without.
fn give_way() {
    use rustix::process::{getpriority_process, setpriority_process};
    let nicer = getpriority_process(None).map(|it| it.saturating_add(NICE));
    if let Err(error) = nicer.and_then(|it| setpriority_process(None, it)) {
        warn!(%error, "Reading from Microsoft does not give way to answers");
    }
}

/// The calling thread. Whether the system allows it.
fn schedule(wished: Scheduler) -> bool {
    sched::set_scheduler(Pid::current_thread(), wished, SchedulerParams { priority: 0 }).is_ok()
}

/// Whether a thread that gives way entirely may have its share again, tried by one that lives no longer
/// than that. Without the right to it (`RLIMIT_NICE`) nobody may.
///
/// Source: `sched(7)`, `SCHED_IDLE`; `getrlimit(2)`, `RLIMIT_NICE`.
fn may_come_back() -> io::Result<bool> {
    let tried = std::thread::Builder::new().name("sync".to_owned()).spawn(|| {
        give_way();
        schedule(Scheduler::SCHED_IDLE) && schedule(Scheduler::SCHED_NORMAL)
    })?;
    Ok(tried.join().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_give_way_those_that_answer_do_not_and_it_ends_within_another_runtime() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let background = Background::new(true).unwrap();
        let threads = Arc::clone(&background.threads);
        let scheduled = || sched::get_scheduler(Pid::current_thread()).unwrap();
        let (seen, policy) =
            background.run(async move { Ok((nice(), scheduled())) }).await.unwrap();
        assert_eq!(seen, (before + NICE).min(19));
        let idle = Scheduler::SCHED_IDLE;
        assert_eq!(policy, if threads.may_idle { idle } else { Scheduler::SCHED_NORMAL });
        assert_eq!((nice(), scheduled()), (before, Scheduler::SCHED_NORMAL));
        drop(Background::new(true).unwrap());
        assert_eq!(
            Background::new(false).unwrap().run(async move { Ok(nice()) }).await.unwrap(),
            before
        );
    }

    #[test]
    fn who_starves_has_its_share_for_a_minute() {
        let second = 1_000_000_000;
        let mut starving = Starving::default();
        let (mut now, mut told) = (Times::default(), Vec::new());
        // Seconds that it ran and waited in the five between two looks.
        let mut look = |looks: usize, ran: u64, waited: u64| {
            for _ in 0..looks {
                now = Times {
                    ran: now.ran + ran * second / 10,
                    waited: now.waited + waited * second / 10,
                };
                told.push(starving.look(BTreeMap::from([(7, now)])));
            }
            std::mem::take(&mut told)
        };
        assert_eq!(look(3, 0, 0), [false; 3], "nothing to do");
        assert_eq!(look(3, 50, 0), [false; 3], "it has a processor for itself");
        assert_eq!(look(3, 10, 40), [false; 3], "it gets on, slowly");
        assert_eq!(look(3, 1, 48), [true; 3]);
        assert_eq!(look(11, 5, 45), [true; 11]);
        assert_eq!(look(2, 5, 45), [false; 2], "a minute after it last starved");
        assert_eq!(look(2, 0, 50), [true; 2], "and again");
    }

    #[test]
    fn the_system_tells_how_long_a_thread_ran() {
        if std::path::Path::new("/proc/self/schedstat").exists() {
            // Counted when the system next looks at the thread.
            while Times::of(number()).unwrap().ran == 0 {
                std::thread::yield_now();
            }
        }
        assert_eq!(Times::of(0), None);
    }
}
