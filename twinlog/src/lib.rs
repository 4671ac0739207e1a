//! What the `twinlog` binary is made of, and what the tests use of it.

pub mod config;
pub mod local_mysql;
