//! (question, evidence, policy, now) → decision: pure, no I/O, no clock of its own.
