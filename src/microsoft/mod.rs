//! What Microsoft says, in our words: wire formats end here.
