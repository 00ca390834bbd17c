//! (subject: config)
