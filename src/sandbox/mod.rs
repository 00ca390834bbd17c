//! The Microsoft stand-in: imports nothing of ours, so that one misreading of a document cannot hide in both ends of a wire.
