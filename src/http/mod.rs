//! Three listeners, one table of routes each.
