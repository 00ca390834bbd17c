//! `backup`: the whole store of one moment, sent to whoever asked. The daemon itself may write nowhere
//! but into its own folder, so the file is made there, and is gone with the last byte.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use super::{Shared, unreadable};
use crate::http::disk;
use crate::http::problem::Problem;

/// Bytes sent at once.
const CHUNK: usize = 64 << 10;

/// The file, with its length: one that was cut can be told.
pub(super) async fn send(State(admin): Shared) -> Result<Response, Problem> {
    let path = admin.store.folder().join(format!("backup-{}.part", Uuid::new_v4()));
    let made = admin.store.backup(&path, admin.now()).await;
    // An open file stays readable; nothing is left behind whatever happens from here on, and whoever
    // asked leaves: this work is done to its end.
    let take = move || (std::fs::File::open(&path), std::fs::remove_file(&path));
    let (opened, removed) = disk::look(&admin.store, move |_| take()).await?;
    let report = made.map_err(unreadable)?;
    let lost = |error| Problem::internal("the backup cannot be read").because(error);
    let file = tokio::fs::File::from_std(opened.map_err(lost)?);
    removed.map_err(lost)?;
    let chunks = stream::unfold(Some(file), |file| async {
        let mut file = file?;
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok(Bytes::from(chunk)), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, report.bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}
