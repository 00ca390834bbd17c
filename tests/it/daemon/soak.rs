//! (subject: soak)
