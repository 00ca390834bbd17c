//! (subject: trouble)
