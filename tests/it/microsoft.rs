//! (subject: microsoft)
