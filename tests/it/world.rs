//! (subject: world)
