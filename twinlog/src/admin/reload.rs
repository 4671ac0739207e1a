//! `POST /api/v1/reload`, `twinlog reload`, SIGHUP: the file is read again, and what can be changed in a running
//! process is. What can't is named, and why. A faulty file changes nothing.
//!
//! What has changed is told by the keys of the file, so that a person finds them where they wrote them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use twinlog::config::{self, File, applier_config, relay_config};

use super::Kind;
use super::call::Call;
use super::client::{Peer, Refused, Unreachable};
use super::reply::Reply;
use super::site::{Hands, Site};
use crate::command::Changes;
use crate::failure::Failure;

/// What a process made of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// `applier eu-us`, `relay eu`, `up shop`.
    pub(crate) process: String,
    /// Keys whose new value holds from now on.
    pub(crate) applied: Vec<String>,
    /// Of an applier: the tables that join or leave, and how.
    #[serde(default)]
    pub(crate) tables: Vec<String>,
    /// Keys whose new value needs more.
    pub(crate) restart: Vec<NeedsRestart>,
    /// Of `up`: the processes that it runs from now on.
    #[serde(default)]
    pub(crate) started: Vec<String>,
    /// Of `up`: the processes that it has told to end.
    #[serde(default)]
    pub(crate) ended: Vec<String>,
    /// Why nothing was changed: the process could not be asked, or refused.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// A key that a running process can't take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NeedsRestart {
    pub(crate) key: String,
    pub(crate) why: String,
}

/// The source is asked for no longer which tables join.
const ASK_SOURCE: Duration = Duration::from_secs(5);

/// What becomes of a key that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is another process's affair.
    Foreign,
    Live,
    Restart(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn answer(site: &Site, call: &Call) -> Result<Reply, Reply> {
    call.knows(&["only"])?;
    call.only(&Method::POST, "POST")?;
    call.body::<Nothing>()?;
    let with_children = match call.parameter("only") {
        None => true,
        Some("self") => false,
        Some(_) => return Err(Reply::bad("only must be self")),
    };
    match reload_some(site, with_children).await {
        Ok(reloaded) => Ok(Reply::json(&reloaded)),
        Err(failure) => Err(Reply::failure(StatusCode::CONFLICT, &failure)),
    }
}

/// Reads the file again and takes over what can be. For `up`, every process of the file does; the first entry is its
/// own.
pub(crate) async fn reload(site: &Site) -> Result<Vec<Reloaded>, Failure> {
    reload_some(site, true).await
}

async fn reload_some(site: &Site, with_children: bool) -> Result<Vec<Reloaded>, Failure> {
    let old = site.file();
    let new = Arc::new(config::load(&old.path)?);
    let mut own = Reloaded { process: format!("{} {}", site.kind(), site.name()), ..Reloaded::default() };
    let is_there = match site.kind() {
        Kind::Applier => new.links.contains_key(site.name()),
        Kind::Relay => new.regions.get(site.name()).is_some_and(|region| region.relay.is_some()),
        Kind::Up => true,
    };
    if !is_there {
        own.restart.push(NeedsRestart { key: own.process.clone(), why: GONE.into() });
    }
    for key in changed(old.text.expose(), new.text.expose()) {
        match fate(site.kind(), site.name(), &old, &key) {
            Fate::Foreign => {}
            Fate::Live => own.applied.push(shown(&key)),
            Fate::Restart(why) => own.restart.push(NeedsRestart { key: shown(&key), why: why.into() }),
        }
    }
    take_over(site, &mut own, &new).await?;
    tracing::info!(
        process = own.process,
        applied = own.applied.join(", "),
        started = own.started.join(", "),
        ended = own.ended.join(", "),
        "configuration reloaded"
    );
    for needs in &own.restart {
        tracing::warn!(
            process = own.process,
            key = needs.key,
            why = needs.why,
            "this change needs a restart"
        );
    }
    let mut all = vec![own];
    if site.kind() == Kind::Up && with_children {
        let asked = children(&old, |label| !all[0].ended.iter().any(|ended| ended == label)).await;
        all.extend(asked);
    }
    Ok(all)
}

/// Hands the file to what runs by it. Where a key can't be taken over, the process goes on with the file it had as far
/// as that key is concerned: it is what its listener, its link's key or its folder were made of.
async fn take_over(site: &Site, own: &mut Reloaded, new: &Arc<File>) -> Result<(), Failure> {
    if own.restart.iter().any(|needs| needs.why == IDENTITY || needs.why == GONE) {
        // Another link, another sync: nothing of the new file is about this process.
        return Ok(());
    }
    match site.hands() {
        Hands::Applier(control) => {
            let config = applier_config(new, site.name())?;
            own.tables = tables(&control, &config).await;
            control.reconfigure(config);
        }
        Hands::Relay(relay) => relay.reconfigure(&relay_config(new, site.name())?),
        Hands::Up(crew) => {
            let Changes { started, ended } = crew.follow(new)?;
            (own.started, own.ended) = (started, ended);
        }
        Hands::None => {}
    }
    site.set_file(new.clone());
    Ok(())
}

/// Which tables join or leave. The link goes on without the answer, should it not be had.
async fn tables(control: &applier::Control, config: &applier::Config) -> Vec<String> {
    match tokio::time::timeout(ASK_SOURCE, control.moves(config)).await {
        Ok(Ok(moves)) => moves.iter().map(ToString::to_string).collect(),
        Ok(Err(error)) => vec![format!("which tables join or leave could not be asked: {error}")],
        Err(_) => vec!["which tables join or leave could not be asked: the source does not answer".into()],
    }
}

/// Tells every relay and applier to reload that was there before the change and still is: who is new has read the file.
async fn children(file: &File, stays: impl Fn(&str) -> bool) -> Vec<Reloaded> {
    let mut asked = JoinSet::new();
    for peer in Peer::all(file) {
        let process = format!("{} {}", peer.kind(), peer.name());
        if !stays(&process) {
            continue;
        }
        asked.spawn(async move {
            let answer: Result<Vec<Reloaded>, Refused> =
                peer.post("/api/v1/reload", &serde_json::json!({})).await;
            match answer {
                Ok(all) => all,
                Err(Refused::Unreachable(Unreachable(why))) => vec![failed(process, why)],
                Err(Refused::Answered { message, .. }) => vec![failed(process, message)],
            }
        });
    }
    let mut all: Vec<Reloaded> = asked.join_all().await.into_iter().flatten().collect();
    all.sort_by(|a, b| a.process.cmp(&b.process));
    all
}

fn failed(process: String, why: String) -> Reloaded {
    Reloaded { process, error: Some(why), ..Reloaded::default() }
}

const IDENTITY: &str = "it says which checkpoint is whose: stop the process, and start it with the new file";
const GONE: &str = "the process's own section is gone: stop it, and for a link see twinlog link delete";
const LISTENER: &str = "the listener is bound already";
const FOLDER: &str = "files are open there";
const FIRST: &str =
    "it counts when the link begins, and for tables that join; twinlog link reset makes it begin anew";
const RELAY: &str = "the relay's connections are made with it";

/// What becomes of a changed key in a process.
fn fate(kind: Kind, name: &str, file: &File, key: &Key) -> Fate {
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    match (kind, &key[..]) {
        (_, ["sync", "name" | "meta_schema"]) => Fate::Restart(IDENTITY),
        (_, ["sync", "state_dir"]) => Fate::Restart(FOLDER),
        (Kind::Up, ["sync", "admin" | "console", ..]) => Fate::Restart(LISTENER),
        (_, ["sync", "admin" | "console", ..]) => Fate::Foreign,
        (Kind::Applier, _) => of_applier(name, file, &key),
        (Kind::Relay, _) => of_relay(name, &key),
        (Kind::Up, _) => Fate::Foreign,
    }
}

fn of_applier(name: &str, file: &File, key: &[&str]) -> Fate {
    let Some(link) = file.links.get(name) else { return Fate::Foreign };
    match key {
        ["link", l, rest @ ..] if *l == name => match rest {
            ["from" | "to"] => Fate::Restart(IDENTITY),
            ["admin", ..] => Fate::Restart(LISTENER),
            ["initial" | "existing"] => Fate::Restart(FIRST),
            ["verify", ..] => Fate::Restart("the comparisons beside the link are planned when it starts"),
            _ => Fate::Live,
        },
        // The way back decides whether conflicts are looked for by rows.
        ["link", _, "from" | "to"] => Fate::Live,
        ["region", r, "gtid_uuids"] if file.regions.contains_key(*r) => Fate::Live,
        ["region", r, rest @ ..] if *r == link.from || *r == link.to => match rest {
            ["mysql", ..] | ["relay", "address" | "tls" | "user"] => Fate::Live,
            ["relay", key] if key.starts_with("password") || key.starts_with("tls_") => Fate::Live,
            _ => Fate::Foreign,
        },
        ["sync", ..] => Fate::Live,
        _ => Fate::Foreign,
    }
}

fn of_relay(name: &str, key: &[&str]) -> Fate {
    match key {
        ["region", r, "relay", "retain" | "max_size"] if *r == name => Fate::Live,
        ["region", r, "relay", "admin", ..] if *r == name => Fate::Restart(LISTENER),
        ["region", r, "relay", "dir"] if *r == name => Fate::Restart(FOLDER),
        // How others reach it is their affair.
        ["region", r, "relay", "address" | "tls_ca"] if *r == name => Fate::Foreign,
        ["region", r, "relay", "start"] if *r == name => Fate::Restart("it counts where a log begins"),
        ["region", r, "relay" | "mysql", ..] if *r == name => Fate::Restart(RELAY),
        // For whom the log is kept.
        ["link", _, "from" | "to" | "detect"] => Fate::Live,
        _ => Fate::Foreign,
    }
}

/// A key's steps from the root.
type Key = Vec<String>;

/// The keys whose values differ, those that are in one text only included. Both texts have been read as
/// configurations before.
fn changed(before: &str, after: &str) -> Vec<Key> {
    let read = |text: &str| {
        let mut flat = BTreeMap::new();
        flatten(&toml::from_str::<toml::Table>(text).unwrap_or_default(), &mut Vec::new(), &mut flat);
        flat
    };
    let (before, after) = (read(before), read(after));
    let all = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut keys: Vec<Key> = all.filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
    keys.sort();
    keys
}

fn flatten(table: &toml::Table, path: &mut Key, flat: &mut BTreeMap<Key, toml::Value>) {
    for (key, value) in table {
        path.push(key.clone());
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => flatten(inner, path, flat),
            other => drop(flat.insert(path.clone(), other.clone())),
        }
        path.pop();
    }
}

/// A key as the file has it.
fn shown(key: &Key) -> String {
    let bare = |step: &String| step.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let steps = key.iter().map(|step| if bare(step) { step.clone() } else { format!("{step:?}") });
    steps.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
