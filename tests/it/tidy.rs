//! (subject: tidy)
