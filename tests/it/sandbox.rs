//! (subject: sandbox)
