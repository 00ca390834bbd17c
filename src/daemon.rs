//! Build, bind, spawn, notify, supervise, drain.
//!
//! Everything is built before anything listens, so that what is wrong is said at once and by the
//! command that started it. All tasks live in one `JoinSet`: the first that ends unasked ends the
//! daemon in order, and systemd starts all of it afresh, through the one startup path that is
//! tested every day.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::domain::{Cause, Change, Commit, Mirror, Tenant};
use crate::microsoft::{Microsoft, MicrosoftError};
use crate::store::{Guard, Opened, Store, StoreError, StoreOptions};
use crate::sync::{self, Clock, Limits, Schedule, Sources, SyncError, SyncHandle};

/// How long tasks may take to stop; below systemd's `TimeoutStopSec`.
const STOP_GRACE: Duration = Duration::from_secs(20);
