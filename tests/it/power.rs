//! (subject: power)
