//! How soon an answer follows what happens at Microsoft, and by which way.

mod lookups;
mod notifications;
