//! The words of the contract, as types that cannot be wrong. No I/O, no clock, no async, no serde.
//!
//! Everything is re-exported here: `domain::Seat`, never `domain::seat::Seat`.

mod access;
mod asked;
mod assignment;
mod by_group;
mod cause;
mod commit;
mod deadline;
mod delivery;
mod difference;
mod directory;
mod group;
mod held;
mod id;
mod inbox;
mod license;
mod licensee;
mod life;
mod mapping;
mod message;
mod mirror;
mod notice;
mod operation;
mod passed;
mod policy;
mod product;
mod purchase_token;
mod quoted;
mod remembered;
mod report;
mod rights;
mod run;
mod series;
mod shards;
mod share;
mod subscription;
mod unfinished;
mod unread;
mod usage;
mod users;
mod uses;
mod watched;
mod webhook_log;

pub use access::{Access, Grant, Permission};
pub use asked::{AskedChange, AskedState, AskedWrite, CONFIRMED_FOR, Impact, Losers, Terms};
pub use assignment::AssignmentError;
pub use by_group::{ByGroup, Head, NESTED, UserByGroup, paths_by_group, standings};
pub use cause::Cause;
pub use commit::{
    Commit, Document, OddRecord, PlaceRequest, RawRecord, SeatOutcome, SeatRequest, TenantUsers,
    UserWrites,
};
pub use deadline::{Deadline, DeadlineKind, NEAR, deadlines};
pub use delivery::{Delivery, DeliveryState, DeliveryWrite, NoticeNumber};
pub use difference::Difference;
pub use directory::{
    CapabilityStatus, Cloud, Consent, Licence, Path, PathState, ServicePlan, Sku, SkuMatch, Tenant,
    Units, UserLicences, Via,
};
pub use group::{Feed, Gone, Group, GroupLicence, Groups, Members, Membership, Processing};
pub use held::HeldBack;
pub use id::{
    GroupId, InvalidId, ProductId, RunId, ServiceId, ServicePlanId, SkuId, SubscriptionId,
    TenantId, UserId,
};
pub use inbox::{
    Announcement, Answered, EventId, EventOutcome, EventState, EventWrite, Receipt, WebhookEvent,
};
pub use license::{
    ANONYMOUS_FOR, ActivatedBy, Activation, ActivationId, ActivationKey, ActivationWrite, Anomaly,
    BadLicenseUsers, BillingCycle, BindRequest, Binding, Credit, InvalidKey, License, LicenseBook,
    LicenseChange, LicenseCoverage, LicenseId, LicenseKind, LicenseLife, LicenseRefused,
    LicenseStep, LicenseTold, LicenseUser, LicenseUserWrites, LicenseUsers, NewPeriod, Packaged,
    Sale, Sighted, SightedKind, Sightings, Standing, Stepped, SwitchAct, SwitchTo,
};
pub use licensee::same_licensee;
pub use life::{
    ACTIVATION_WITHIN, Event, FREE_CANCELLATION, Leads, RETENTION_LEAST, SUSPENSION_GRACE, Stage,
    Step, TABLE, leads, step,
};
pub use mapping::{
    MAPPINGS_MAX, Mapping, MappingState, MappingWrite, Target, mapped, names_sku, sku_match,
};
pub use message::{
    Filling, Language, MESSAGE_MAX, MessageError, MessageKey, Messages, Placeholder,
};
pub use mirror::{Mirror, TenantView};
pub use notice::{About, Notice, NoticeKind, NoticeWish, Shortage};
pub use operation::{Action, OperationStatus, RequestSource};
pub use passed::has_passed;
pub use policy::{Freshness, OnStale, OverLimit, Policy};
pub use product::{
    Catalog, Channel, Coverage, Feature, Features, Host, HybridMode, Plan, Product, UnknownWord,
};
pub use purchase_token::PurchaseToken;
pub use quoted::Quoted;
pub use remembered::{Life, Undocumented};
pub use report::{Deal, DealId, ReportOrigin, ReportedLicence};
pub use rights::{EMPTY_MAX, Right, RightsSource, RightsTable, UserRights};
pub use run::{Change, Entity, Fact, Outcome, Run, Source, SourceKey, SourceState, Trigger};
pub use series::{Between, Forecast, Point, SERIES_KEPT, Series, SeriesWrite};
pub use share::Share;
pub use subscription::{HeldSeat, Holders, Party, Subscription, SubscriptionStatus};
pub use unfinished::{Packed, ReadWrite, Said, Sequence, Unfinished};
pub use unread::{Unread, Whose};
pub use usage::{
    InvalidQuantity, InvalidUsageId, Quantity, USAGE_WINDOW, UsageAnswer, UsageEvent, UsageId,
    UsageKey, UsageState, UsageWrite, hour_of, is_dimension,
};
pub use users::{BadBucket, RollCall, UserTable};
pub use uses::{Day, Pseudonym, USES_KEPT, UseTable, UseWrite, date_of, day_of};
pub use watched::{
    ClientState, GraphSubscription, GraphSubscriptionWrite, GraphSubscriptions, Watched,
};
pub use webhook_log::{
    ForgedWebhooks, LateWebhook, MissedWebhook, NoteKey, ON_ITS_WAY, WebhookEntry, WebhookNote,
    lateness, webhook_entries,
};
