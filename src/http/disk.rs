//! Looks that touch the store's disk, made on a thread that may wait.

use super::problem::Problem;
use crate::store::Store;

/// What a blocking look at the store finds.
///
/// # Errors
///
/// [`Problem`] if the look did not come to its end.
pub(super) async fn look<T: Send + 'static>(
    store: &Store,
    look: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<T, Problem> {
    let store = store.clone();
    let looked = tokio::task::spawn_blocking(move || look(&store)).await;
    looked.map_err(|error| Problem::internal("the store cannot be read").because(error))
}
