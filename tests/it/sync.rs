//! (subject: sync)
