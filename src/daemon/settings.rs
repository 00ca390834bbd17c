//! The configuration as each part wants it.

use tracing::{error, info, warn};

use crate::config::{Config, Credential};
use crate::http::admin::AdminSettings;
use crate::microsoft;
use crate::store::{Opened, Store};
use crate::sync::{Clock, Limits, Schedule, SyncHandle};
use crate::tokens::UserRules;
