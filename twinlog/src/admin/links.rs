//! `POST /api/v1/links/NAME/ACTION`: what people want of a link. An applier does it for its own link, `up` asks the
//! applier.

use applier::{Control, Order, Skipped, Wish};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::client::{self, Peer};
use super::reply::Reply;
use super::site::{Hands, Site};
use super::{Kind, text_of};
use crate::failure::Failure;

/// What is sent with an order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Asked {
    /// Who asks: `user@host`.
    pub(crate) by: String,
    /// Why.
    pub(crate) reason: String,
    /// For `skip`: the transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gtid: Option<String>,
    /// For `reset` and `delete`: that one knows what is lost.
    pub(crate) yes: bool,
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The link.
    pub(crate) link: String,
    /// `start`, `stop`, …
    pub(crate) action: String,
    /// In words.
    pub(crate) said: String,
}

/// What a reset or a deletion would lose.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AtStake {
    /// Has the link begun?
    pub(crate) born: bool,
    /// What its checkpoint holds.
    pub(crate) gtid_applied: String,
    /// What the source has and the checkpoint does not; `null` where the source does not answer.
    pub(crate) gtid_to_come: Option<String>,
    /// How many transactions that is.
    pub(crate) transactions_to_come: Option<u64>,
    /// Recorded conflicts.
    pub(crate) conflicts: u64,
    /// Those of them that wait for a person.
    pub(crate) open_conflicts: u64,
}

impl From<applier::Stakes> for AtStake {
    fn from(stakes: applier::Stakes) -> Self {
        Self {
            born: stakes.born,
            gtid_applied: stakes.applied.to_string(),
            transactions_to_come: stakes.to_come.as_ref().map(binlog::GtidSet::count),
            gtid_to_come: stakes.to_come.map(|set| set.to_string()),
            conflicts: stakes.conflicts,
            open_conflicts: stakes.open_conflicts,
        }
    }
}

/// Answers; `at-stake` is the one question among the orders.
pub(super) async fn answer(site: &Site, call: &Call, name: &str, action: &str) -> Result<Reply, Reply> {
    call.knows(&[])?;
    if !matches!(action, "start" | "stop" | "pause" | "resume" | "reset" | "delete" | "skip" | "at-stake") {
        return Err(Reply::not_found("no such action"));
    }
    match action {
        "at-stake" => call.only(&Method::GET, "GET")?,
        _ => call.only(&Method::POST, "POST")?,
    }
    let file = site.file();
    if !file.links.contains_key(name) || site.kind() == Kind::Applier && site.name() != name {
        return Err(Reply::not_found("no such link here"));
    }
    match (site.kind(), site.hands()) {
        (Kind::Applier, Hands::Applier(control)) => act(&control, call, name, action).await,
        (Kind::Applier, _) => {
            let what = "the link has not reached its target yet";
            Err(Reply::error(StatusCode::SERVICE_UNAVAILABLE, what, Some("GET /api/v1/status tells why")))
        }
        (Kind::Up, _) => {
            if action != "at-stake" {
                call.body::<Asked>()?;
            }
            client::pass_on(&Peer::of(&file, Kind::Applier, name), call).await
        }
        (Kind::Relay, _) => Err(Reply::not_found("a relay has no links to order: ask the link's applier")),
    }
}

async fn act(control: &Control, call: &Call, name: &str, action: &str) -> Result<Reply, Reply> {
    let asked: Asked = if call.method == Method::POST { call.body()? } else { Asked::default() };
    let gtid = match (action, &asked.gtid) {
        ("skip", None) => return Err(Reply::bad("gtid is missing: the transaction to get past")),
        ("skip", Some(text)) => {
            Some(text.parse().map_err(|_| Reply::bad(&format!("not a GTID: {}", text_of(text))))?)
        }
        _ => None,
    };
    if matches!(action, "reset" | "delete") && !asked.yes {
        let what = format!("{action} loses what can't be brought back");
        let remedy = "GET …/at-stake tells what; then say \"yes\": true";
        return Err(Reply::error(StatusCode::CONFLICT, &what, Some(remedy)));
    }
    let order = Order { by: asked.by, reason: asked.reason };
    let failed = |error: applier::Error| {
        let code = match &error {
            applier::Error::NotSkipped { .. } => StatusCode::CONFLICT,
            error if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        Reply::failure(code, &Failure::from_diagnosis(&format!("link {name}: {action} failed"), &error))
    };
    let mut orders = control.orders().await.map_err(failed)?;
    let said = match (action, gtid) {
        ("at-stake", _) => return Ok(Reply::json(&AtStake::from(orders.stakes().await.map_err(failed)?))),
        ("skip", Some(gtid)) => said_skipped(orders.skip(&gtid, &order).await.map_err(failed)?),
        ("reset", _) => orders.reset(&order).await.map(|()| "it begins anew".to_owned()).map_err(failed)?,
        ("delete", _) => said_deleted(&orders.delete(&order).await.map_err(failed)?),
        (other, _) => {
            let (wish, said) = match other {
                "pause" => (Wish::Paused, "it pauses"),
                "stop" => (Wish::Stopped, "it stops"),
                _ => (Wish::Run, "it goes on"),
            };
            orders.wish(wish, &order).await.map_err(failed)?;
            said.to_owned()
        }
    };
    control.nudge();
    Ok(Reply::json(&Done { link: name.into(), action: action.into(), said }))
}

pub(crate) fn said_skipped(skipped: Skipped) -> String {
    match skipped {
        Skipped::Passed => "the checkpoint has passed the transaction".into(),
        Skipped::Answered(1) => "its conflict is answered: the link passes it when it goes on".into(),
        Skipped::Answered(n) => format!("its {n} conflicts are answered: the link passes it when it goes on"),
    }
}

pub(crate) fn said_deleted(forgotten: &applier::Forgotten) -> String {
    let mut said = "its metadata is gone; take the link out of the file, or start it anew".to_owned();
    for (address, told) in forgotten {
        if let Err(error) = told {
            said += &format!(
                "; the relay at {address} could not be told to forget it ({}): it keeps its log for the link until it \
                 is restarted or reloaded with a file without it",
                Failure::from_error("", error).reason()
            );
        }
    }
    said
}
