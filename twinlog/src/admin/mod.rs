//! The admin API of a relay, an applier, or `twinlog up`: is it alive, is it ready, what is it doing; and what people
//! want of it.
//!
//! ```text
//! GET  /livez  /readyz  /metrics            for machines that look after processes
//! GET  /api/v1/status                       {"kind": "relay" | "applier", "sync": …, "pid": …, and the fields of its status}
//! POST /api/v1/links/NAME/start|stop|pause|resume|reset|delete|skip      GET …/at-stake
//! GET  /api/v1/conflicts[/REGION/NUMBER]    POST …/resolve|flip
//! GET  /api/v1/log/REGION                   GET, POST /api/v1/verify     POST /api/v1/verify/cancel
//! GET  /api/v1/tables/REGION[/TABLE]        POST /api/v1/check           POST /api/v1/reload
//! GET  /api/v1/openapi.json                 all of this, for programs
//!
//! door (TLS) ─▶ server (bounds) ─▶ access (token, Host, Origin) ─▶ call ─▶ site (by path) ─▶ reply
//! ```
//!
//! It listens on loopback unless it has a token and TLS. Without a configured address it takes a free port and publishes
//! it in a small file of the state folder, where others on the same host find it. No GET changes anything. Errors are
//! `{"error": {"message", "remedy"}}`. `up` answers for all processes of its file, by asking them.

mod access;
mod board;
mod call;
mod check;
pub(crate) mod client;
mod conflicts;
mod exposition;
mod links;
mod log;
mod metrics;
mod publish;
mod reload;
mod reply;
mod server;
mod site;
mod tables;
mod verify;

pub(crate) use access::{Access, is_same, is_token};
pub(crate) use board::{Board, Kind, ProcessStatus, Reader, Report, unix_time};
pub(crate) use client::Unreachable;
pub(crate) use links::{Asked, AtStake, Done, said_deleted, said_skipped};
pub(crate) use publish::published;
#[cfg(test)]
pub(crate) use reload::NeedsRestart;
pub(crate) use reload::{Reloaded, reload};
pub(crate) use server::Listener;
pub(crate) use site::{Hands, Site};
pub(crate) use verify::{Progress, View as Verifying};

/// What somebody sent, for an error: short, and nothing that a terminal would obey.
fn text_of(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}
