//! The listeners: public (visuals and servers ask), ops (people and monitoring look), admin (the
//! command line acts).
//!
//! | file | what lives there |
//! |---|---|
//! | `serve` | the accept loop and its limits |
//! | `places` | how many connections and requests there are at once |
//! | `awaited` | whether a request's body is waited for |
//! | `unread` | what is left of a body when its answer is ready |
//! | `edge` | around every request: limits, time, panics, CORS, the log line |
//! | `body` | bodies of requests, bounded |
//! | `ids` | what stands in a path in place of an id |
//! | `problem` | every way to fail, and what the caller hears |
//! | `who` | who asks |
//! | `markup` | text inside HTML |
//! | `seal` | what others keep for us, sealed |
//! | `consent` | the link by which an administrator consents |
//! | `rates` | how often one may ask |
//! | `public` | the routes of the public listener |
//! | `ops` | the status page, metrics and health |
//! | `admin` | the command line's other end, on a Unix socket |

pub mod admin;
mod awaited;
mod body;
mod consent;
mod disk;
mod edge;
mod failures;
mod ids;
mod licenses;
mod limits;
mod markup;
mod metrics;
mod once;
pub mod ops;
mod places;
mod problem;
pub mod public;
mod query;
mod rates;
mod seal;
mod serve;
pub mod tls;
mod unread;
mod who;

pub use consent::ConsentLink;
pub use limits::Limits;
pub use metrics::Metrics;
pub(crate) use once::IDEMPOTENCY_KEY;
pub use problem::{Problem, ProblemBody};
pub use public::{KEYS_PUBLISHED_FOR, answer_json};
pub use rates::{Rate, Rates};
