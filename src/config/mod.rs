//! Text → a configuration that cannot be wrong.
