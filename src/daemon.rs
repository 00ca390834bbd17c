//! Build, bind, spawn, notify, supervise, drain.
