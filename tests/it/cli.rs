//! (subject: cli)
