//! (subject: http)
