//! The regions' conflict tables, for the page: read at most once a second however many pages are open, and decided.

use std::time::{Duration, Instant};

use applier::{Recorded, Take, Wanted};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use twinlog::config::File;

use super::actions::Refusal;
use crate::command::ConflictTables;
use crate::failure::Failure;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

/// No page shows more.
const MOST: u64 = 1000;

/// What was read last; whoever reads holds the lock, so that several pages ask the servers once.
#[derive(Default)]
pub(super) struct Conflicts(Mutex<Option<(Instant, u64, Value)>>);

impl Conflicts {
    /// The newest of every region that is written into, oldest first; a region that can't be asked is a fault beside
    /// the others' conflicts.
    pub(super) async fn list(&self, file: &File, limit: u64) -> Value {
        let limit = limit.min(MOST);
        let mut last = self.0.lock().await;
        if let Some((_, _, value)) = last.as_ref().filter(|(at, n, _)| at.elapsed() < FRESH && *n == limit) {
            return value.clone();
        }
        let value = read(file, limit).await;
        *last = Some((Instant::now(), limit, value.clone()));
        value
    }

    /// Answers one that waits.
    pub(super) async fn resolve(&self, file: &File, id: &str, body: &Value) -> Result<Value, Refusal> {
        let take = match body["take"].as_str() {
            Some("source") => Take::Source,
            Some("target") => Take::Target,
            Some("skip") => Take::Skip,
            _ => return Err(Refusal::bad("say take: source, target or skip")),
        };
        let (mut table, conflict) = ConflictTables::of(file)?.find(id).await?;
        let answered = table.resolve(conflict.number(), take).await;
        if !answered.map_err(|e| Failure::from_diagnosis("the conflict can't be decided", &e))? {
            return Err(Refusal::bad(format!(
                "conflict {id} does not wait for a decision: {} won",
                conflict.winner
            )));
        }
        *self.0.lock().await = None;
        Ok(json!({ "id": id }))
    }

    /// Makes the loser the winner.
    pub(super) async fn flip(&self, file: &File, id: &str) -> Result<Value, Refusal> {
        let (mut table, conflict) = ConflictTables::of(file)?.find(id).await?;
        let flipped = table.flip(&conflict).await;
        flipped.map_err(|e| Failure::from_diagnosis("the conflict can't be flipped", &e))?;
        *self.0.lock().await = None;
        Ok(json!({ "id": id }))
    }
}

async fn read(file: &File, limit: u64) -> Value {
    let fault = |failure: &Failure| {
        let told = failure.status(None);
        json!({ "message": told.message, "remedy": told.remedy })
    };
    let tables = match ConflictTables::of(file) {
        Ok(tables) => tables,
        Err(failure) => return json!({ "conflicts": [], "faults": [fault(&failure)] }),
    };
    let (mut all, mut faults) = (Vec::<Recorded>::new(), Vec::new());
    for region in tables.regions() {
        let wanted = Wanted { limit: Some(limit), ..Wanted::default() };
        let read = async {
            let mut table = tables.open(region).await?;
            table.list(&wanted).await.map_err(|e| Failure::from_diagnosis("conflicts can't be read", &e))
        };
        match read.await {
            Ok(found) => all.extend(found),
            Err(failure) => faults.push(fault(&failure)),
        }
    }
    all.sort_by(|a, b| a.decided_at.cmp(&b.decided_at));
    let newest = all.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    let shown: Vec<Value> = all[newest..].iter().map(|c| with_name(file, c)).collect();
    json!({ "conflicts": shown, "faults": faults })
}

/// With the link's name in the file beside its key.
fn with_name(file: &File, conflict: &Recorded) -> Value {
    let mut value = serde_json::to_value(conflict).unwrap_or_default();
    let named =
        file.links.values().find(|l| format!("{}/{}/{}", file.sync.name, l.from, l.to) == conflict.link);
    value["link_name"] = named.map_or(conflict.link.as_str(), |l| l.name.as_str()).into();
    value
}
