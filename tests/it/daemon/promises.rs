//! (subject: promises)
