//! (subject: store)
