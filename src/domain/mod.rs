//! The words of the contract, as types that cannot be wrong. No I/O, no clock, no async, no serde.
//!
//! Everything is re-exported here: `domain::Seat`, never `domain::seat::Seat`.

mod access;
mod asked;
mod commit;
mod deadline;
mod delivery;
mod directory;
mod held;
mod id;
mod inbox;
mod life;
mod mirror;
mod notice;
mod operation;
mod policy;
mod product;
mod purchase_token;
mod remembered;
mod run;
mod subscription;
mod unread;
mod usage;
mod users;
mod webhook_log;

pub use access::{Access, Grant, Permission};
pub use asked::{AskedChange, AskedState, AskedWrite, CONFIRMED_FOR, Impact, Losers, Terms};
pub use commit::{
    Commit, Document, OddRecord, RawRecord, SeatOutcome, SeatRequest, TenantUsers, UserWrites,
};
pub use deadline::{Deadline, DeadlineKind, NEAR, deadlines};
pub use delivery::{Delivery, DeliveryState, DeliveryWrite, NoticeNumber};
pub use directory::{
    CapabilityStatus, Cloud, Consent, Licence, Path, PathState, ServicePlan, Sku, SkuMatch, Tenant,
    Units, UserLicences, Via,
};
pub use held::HeldBack;
pub use id::{
    GroupId, InvalidId, ProductId, RunId, ServiceId, ServicePlanId, SkuId, SubscriptionId,
    TenantId, UserId,
};
pub use inbox::{
    Announcement, Answered, EventId, EventOutcome, EventState, EventWrite, Receipt, WebhookEvent,
};
pub use life::{
    ACTIVATION_WITHIN, Event, FREE_CANCELLATION, Leads, RETENTION_LEAST, SUSPENSION_GRACE, Stage,
    Step, TABLE, leads, step,
};
pub use mirror::{Mirror, TenantView};
pub use notice::{About, Notice, NoticeKind, NoticeWish};
pub use operation::{Action, OperationStatus, RequestSource};
pub use policy::{Freshness, OnStale, OverLimit, Policy};
pub use product::{
    Catalog, Channel, Coverage, Feature, Features, Host, HybridMode, Plan, Product, UnknownWord,
};
pub use purchase_token::PurchaseToken;
pub use remembered::{Life, Undocumented};
pub use run::{Cause, Change, Entity, Fact, Outcome, Run, Source, SourceKey, SourceState, Trigger};
pub use subscription::{HeldSeat, Holders, Party, Subscription, SubscriptionStatus};
pub use unread::{Unread, Whose};
pub use usage::{
    InvalidQuantity, InvalidUsageId, Quantity, USAGE_WINDOW, UsageAnswer, UsageEvent, UsageId,
    UsageKey, UsageState, UsageWrite, hour_of, is_dimension,
};
pub use users::{BadBucket, UserTable};
pub use webhook_log::{
    ForgedWebhooks, LateWebhook, MissedWebhook, NoteKey, ON_ITS_WAY, WebhookEntry, WebhookNote,
    lateness, webhook_entries,
};
