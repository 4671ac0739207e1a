//! What the page asks for beside events, and what it asks to be done. All but the draft is another process's to answer.
//!
//! ```text
//! GET  /api/v1/conflicts?limit=N                     {conflicts, faults}
//! GET  /api/v1/tables?region=R                       {tables}: of the region's server, each with rows and bytes
//! GET  /api/v1/links/NAME/at-stake                   what a reset or a deletion would lose
//! GET  /api/v1/structure?from=R&to=R&table=D.T       {create}
//! POST /api/v1/links/NAME/{start,stop,pause,resume,reset,delete}     passed on to the link's process
//! POST /api/v1/conflicts/REGION/NUMBER/resolve       {take: source|target|skip}
//! POST /api/v1/conflicts/REGION/NUMBER/flip
//! POST /api/v1/verify, /api/v1/verify/cancel
//! POST /api/v1/check                                 the report, as `twinlog check --json`
//! POST /api/v1/draft                                 {toml, faults, warnings}
//! ```
//! Errors are `{"error": {"message", "remedy"}}`.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use twinlog::config::Faults;

use super::hub::Hub;
use super::{draft, peers, tables, verify};
use crate::admin::client::{self, ORDER_TIMEOUT, Peer, Refused};
use crate::admin::{Kind, Unreachable};
use crate::failure::Failure;

/// Why something is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) message: String,
    pub(super) remedy: Option<String>,
}

impl Refusal {
    /// It was asked for wrongly.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, message: message.into(), remedy: None }
    }

    fn no_such(what: &str) -> Self {
        Self { code: StatusCode::NOT_FOUND, message: format!("no such {what}"), remedy: None }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let told = failure.status(None);
        Self { code: StatusCode::BAD_GATEWAY, message: told.message, remedy: told.remedy }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreachable(Unreachable(why)) => Self {
                code: StatusCode::BAD_GATEWAY,
                message: why,
                remedy: Some("start the process, or correct its admin.address in the configuration".into()),
            },
            Refused::Answered { code, message, remedy } => {
                // That it wants another token than this process has is nothing that who asks could mend.
                let code = StatusCode::from_u16(code).ok().filter(|code| *code != StatusCode::UNAUTHORIZED);
                Self { code: code.unwrap_or(StatusCode::BAD_GATEWAY), message, remedy }
            }
        }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        Failure::from(faults).into()
    }
}

/// Answers a question. Nothing is changed by it.
pub(super) async fn get(hub: &Hub, path: &str, query: &str) -> Result<Value, Refusal> {
    let asked = parameters(query);
    let wanted =
        |name: &str| asked.get(name).map(String::as_str).ok_or_else(|| Refusal::bad(format!("say {name}")));
    match path {
        "/api/v1/conflicts" => {
            let limit = asked.get("limit").and_then(|n| n.parse().ok()).unwrap_or(100);
            Ok(hub.conflicts.list(&hub.file(), limit).await)
        }
        "/api/v1/tables" => tables::list(&hub.file(), wanted("region")?).await,
        "/api/v1/structure" => {
            tables::structure(&hub.file(), wanted("from")?, wanted("to")?, wanted("table")?).await
        }
        _ => match path.strip_prefix("/api/v1/links/").and_then(|rest| rest.strip_suffix("/at-stake")) {
            Some(link) => at_stake(hub, &decoded(link)).await,
            None => Err(Refusal::no_such("page")),
        },
    }
}

async fn at_stake(hub: &Hub, link: &str) -> Result<Value, Refusal> {
    let file = hub.file();
    if !file.links.contains_key(link) {
        return Err(Refusal::no_such(&format!("link: {link}")));
    }
    let (peer, path) =
        ([Peer::of(&file, Kind::Applier, link)], format!("/api/v1/links/{}/at-stake", peers::step(link)));
    Ok(client::first(&peer, (Method::GET, &path), &Value::Null, ORDER_TIMEOUT).await?)
}

/// Does what a person decided.
pub(super) async fn post(hub: &Hub, path: &str, body: Value) -> Result<Value, Refusal> {
    let rest = path.strip_prefix("/api/v1/").ok_or_else(|| Refusal::no_such("page"))?;
    let steps: Vec<String> = rest.split('/').map(decoded).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    match steps[..] {
        ["links", link, action] => on_link(hub, link, action, body).await,
        ["conflicts", region, number, action @ ("resolve" | "flip")] => {
            hub.conflicts.change(&hub.file(), (region, number, action), &body).await
        }
        ["verify"] => verify::start(&hub.file()).await,
        ["verify", "cancel"] => Ok(verify::cancel(&hub.file()).await),
        ["check"] => {
            let appliers = peers::appliers(&hub.file());
            Ok(client::first(&appliers, (Method::POST, "/api/v1/check"), &json!({}), verify::CHECK).await?)
        }
        ["draft"] => draft::check(&hub.file(), &body),
        _ => Err(Refusal::no_such("action")),
    }
}

/// Tells the link's process; what it answers is the answer.
async fn on_link(hub: &Hub, link: &str, action: &str, mut body: Value) -> Result<Value, Refusal> {
    const ACTIONS: [&str; 6] = ["start", "stop", "pause", "resume", "reset", "delete"];
    let file = hub.file();
    if !file.links.contains_key(link) {
        return Err(Refusal::no_such(&format!("link: {link}")));
    }
    if !ACTIONS.contains(&action) {
        return Err(Refusal::no_such(&format!("action: {action}")));
    }
    if let Some(order) = body.as_object_mut() {
        order.insert("by".into(), json!("the console"));
        // The page has said what is lost, and had the link's name typed.
        order.insert("yes".into(), json!(matches!(action, "reset" | "delete")));
    }
    tracing::info!(link, action, "passed on from the console");
    Ok(client::order(&file, link, action, &body).await?)
}

/// `a=b&c=d`, decoded.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// Without percent signs; what is not well-formed stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{decoded, parameters};

    #[test]
    fn what_a_browser_encodes_is_read_back() {
        assert_eq!(decoded("shop.%C3%BCn%20i%2Fx"), "shop.ün i/x");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        let all = parameters("region=eu&table=shop.a%26b");
        assert_eq!((all["region"].as_str(), all["table"].as_str()), ("eu", "shop.a&b"));
    }
}
