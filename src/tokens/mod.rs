//! JWTs, pure: Entra's checked against keys handed in, ours signed.
