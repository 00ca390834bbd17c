//! (subject: decision)
