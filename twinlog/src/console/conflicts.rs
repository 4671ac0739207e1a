//! The regions' conflicts, for the page: asked of the appliers that write into them, at most once a second however many
//! pages are open, and decided there.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use twinlog::config::File;

use super::actions::Refusal;
use super::peers::{self, beside};
use crate::admin::client::{ORDER_TIMEOUT, Refused, first};

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

/// No page shows more.
const MOST: u64 = 1000;

/// What was read last; whoever reads holds the lock, so that several pages ask once.
#[derive(Default)]
pub(super) struct Conflicts(Mutex<Option<(Instant, u64, Value)>>);

impl Conflicts {
    /// The newest of every region that is written into, oldest first; a region that nobody can be asked about is a
    /// fault beside the others' conflicts.
    pub(super) async fn list(&self, file: &File, limit: u64) -> Value {
        let limit = limit.clamp(1, MOST);
        let mut last = self.0.lock().await;
        if let Some((_, _, value)) = last.as_ref().filter(|(at, n, _)| at.elapsed() < FRESH && *n == limit) {
            return value.clone();
        }
        let value = read(file, limit).await;
        *last = Some((Instant::now(), limit, value.clone()));
        value
    }

    /// Answers one that waits, or makes the loser the winner: what the region's applier says to it.
    pub(super) async fn change(
        &self,
        file: &File,
        (region, number, action): (&str, &str, &str),
        body: &Value,
    ) -> Result<Value, Refusal> {
        let path = format!("/api/v1/conflicts/{}/{}/{action}", peers::step(region), peers::step(number));
        let done = first(&beside(file, region), (Method::POST, &path), body, ORDER_TIMEOUT).await;
        *self.0.lock().await = None;
        Ok(done?)
    }
}

async fn read(file: &File, limit: u64) -> Value {
    let regions: std::collections::BTreeSet<&String> = file.links.values().map(|link| &link.to).collect();
    let mut asked = JoinSet::new();
    for region in regions {
        let (region, peers) = (region.clone(), beside(file, region));
        asked.spawn(async move {
            let path = format!("/api/v1/conflicts?limit={limit}");
            let answer: Result<Value, Refused> =
                first(&peers, (Method::GET, &path), &Value::Null, ORDER_TIMEOUT).await;
            (region, answer)
        });
    }
    let (mut all, mut faults) = (Vec::<Value>::new(), Vec::new());
    for (region, answer) in asked.join_all().await {
        match answer {
            Ok(mut answer) => {
                all.extend(answer["conflicts"].as_array_mut().map(std::mem::take).unwrap_or_default())
            }
            Err(refused) => {
                let refusal = Refusal::from(refused);
                let message = format!("the conflicts of region {region} can't be read: {}", refusal.message);
                faults.push(json!({ "message": message, "remedy": refusal.remedy }));
            }
        }
    }
    // Times of one form: they are in order as text.
    let decided = |conflict: &Value| conflict["decided_at"].as_str().unwrap_or_default().to_owned();
    all.sort_by_cached_key(decided);
    let newest = all.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    let shown: Vec<Value> = all.drain(newest..).map(|conflict| with_name(file, conflict)).collect();
    json!({ "conflicts": shown, "faults": faults })
}

/// With the link's name in the file beside its key.
fn with_name(file: &File, mut conflict: Value) -> Value {
    let key = conflict["link"].as_str().unwrap_or_default().to_owned();
    let named = file.links.values().find(|l| format!("{}/{}/{}", file.sync.name, l.from, l.to) == key);
    conflict["link_name"] = named.map_or(key, |l| l.name.clone()).into();
    conflict
}
