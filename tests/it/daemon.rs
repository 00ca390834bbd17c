//! (subject: daemon)
