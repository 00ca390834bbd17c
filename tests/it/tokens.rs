//! (subject: tokens)
