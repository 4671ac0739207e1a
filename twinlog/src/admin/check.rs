//! `POST /api/v1/check`: the prechecks, asked from where this process stands. They change nothing, and cost every server
//! some questions: hence no GET.

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::Kind;
use super::call::Call;
use super::reply::Reply;
use super::site::Site;
use crate::check;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn answer(site: &Site, call: &Call) -> Result<Reply, Reply> {
    call.knows(&[])?;
    call.only(&Method::POST, "POST")?;
    if site.kind() == Kind::Relay {
        return Err(Reply::not_found(
            "a relay checks only what it needs itself: ask an applier, or twinlog up",
        ));
    }
    call.body::<Nothing>()?;
    let report = Box::pin(check::run(site.file().as_ref().clone(), false)).await;
    report
        .map(|report| Reply::json(&report))
        .map_err(|failure| Reply::failure(StatusCode::BAD_GATEWAY, &failure))
}
