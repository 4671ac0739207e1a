//! The admin API of a relay or an applier: is it alive, is it ready, what is it doing.
//!
//! ```text
//! GET /livez           200 while the process serves
//! GET /readyz          200 while it runs, else 503; the state in the body
//! GET /metrics         the same in Prometheus's text format
//! GET /api/v1/status   {"kind": "relay" | "applier", "sync": …, "pid": …, and the fields of its status}
//! ```
//!
//! It listens on loopback only. Without a configured address it takes a free port and publishes it in a small file
//! of the state folder, where `status` on the same host finds it.

mod board;
mod client;
mod exposition;
mod metrics;
mod publish;
mod server;

pub(crate) use board::{Board, Kind, ProcessStatus, Reader, Report, unix_time};
pub(crate) use client::{Unreachable, ask, tell};
pub(crate) use publish::published;
pub(crate) use server::{Listener, is_local};
