//! The durable mirror: the only floor that knows sled.
