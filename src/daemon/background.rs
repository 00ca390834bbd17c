//! Reading from Microsoft on threads of its own, which give way to those that answer.
//!
//! A page of a thousand users takes milliseconds to parse and to compare. On the threads that answer, a
//! question would wait for it; on threads of the same priority, for its turn of the processor.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::sync::SyncError;

/// How much the threads give way: with 10, a thread at the usual priority gets nine tenths of a
/// processor that both want.
///
/// Source: `sched(7)`, "The nice value".
const NICE: i32 = 10;

/// A runtime of its own. Dropped, it stops at once, and unlike tokio's also inside another runtime.
#[derive(Debug)]
pub(super) struct Background(Option<Runtime>);

impl Background {
    /// As many threads as leave the other half of the processors to answers; if not `apart`, none:
    /// what it runs shares the thread of whoever waits for it.
    ///
    /// # Errors
    ///
    /// [`io::Error`]: the system gives no threads.
    pub(super) fn new(apart: bool) -> io::Result<Self> {
        if !apart {
            return Ok(Self(None));
        }
        let processors = std::thread::available_parallelism()?.get();
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors.div_ceil(2))
            .thread_name("sync")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
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
        match &self.0 {
            Some(runtime) => runtime.spawn(future).await.map_err(SyncError::Panicked).flatten(),
            None => future.await,
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Of the calling thread alone, as Linux does it. What a system does not allow is done without.
fn give_way() {
    use rustix::process::{getpriority_process, setpriority_process};
    let nicer = getpriority_process(None).map(|it| it.saturating_add(NICE));
    if let Err(error) = nicer.and_then(|it| setpriority_process(None, it)) {
        tracing::warn!(%error, "Reading from Microsoft does not give way to answers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_give_way_those_that_answer_do_not_and_it_ends_within_another_runtime() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let background = Background::new(true).unwrap();
        assert_eq!(
            background.run(async move { Ok(nice()) }).await.unwrap(),
            (before + NICE).min(19)
        );
        assert_eq!(nice(), before);
        drop(Background::new(true).unwrap());
        assert_eq!(
            Background::new(false).unwrap().run(async move { Ok(nice()) }).await.unwrap(),
            before
        );
    }
}
