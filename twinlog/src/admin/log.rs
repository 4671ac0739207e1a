//! `/api/v1/log`: a relay's segments, what it keeps and for whom. `up` asks the relay of the region.

use hyper::{Method, StatusCode};

use super::Kind;
use super::call::Call;
use super::client::{self, Peer};
use super::reply::Reply;
use super::site::{Hands, Site};

pub(super) async fn answer(site: &Site, call: &Call, rest: &[&str]) -> Result<Reply, Reply> {
    call.only(&Method::GET, "GET")?;
    call.knows(&[])?;
    let [region] = *rest else { return Err(Reply::not_found("name the region: /api/v1/log/REGION")) };
    let file = site.file();
    let has_relay = file.regions.get(region).is_some_and(|region| region.relay.is_some());
    if !has_relay || site.kind() == Kind::Relay && site.name() != region {
        return Err(Reply::not_found("no relay of this region here"));
    }
    match (site.kind(), site.hands()) {
        (Kind::Relay, Hands::Relay(relay)) => Ok(Reply::json(&relay.log())),
        (Kind::Relay, _) => {
            let what = "the relay has not opened its log yet";
            Err(Reply::error(StatusCode::SERVICE_UNAVAILABLE, what, Some("GET /api/v1/status tells why")))
        }
        (Kind::Up, _) => client::pass_on(&Peer::of(&file, Kind::Relay, region), call).await,
        (Kind::Applier, _) => Err(Reply::not_found("an applier has no log: ask the relay of the region")),
    }
}
