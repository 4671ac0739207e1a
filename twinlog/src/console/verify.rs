//! The comparison of the regions, which an applier carries out: begun, stopped, and what all of them know of it.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use twinlog::config::File;

use super::actions::Refusal;
use super::peers::appliers;
use crate::admin::client::{ORDER_TIMEOUT, Refused, first};
use crate::admin::{Progress, Verifying};
use crate::command::LastVerified;

/// For the prechecks, which ask every server; a process answers nothing that takes longer.
pub(super) const CHECK: Duration = Duration::from_secs(60);

/// What is known of comparisons.
#[derive(Default)]
pub(super) struct Known {
    running: Option<Progress>,
    failed: Option<String>,
    last: Option<LastVerified>,
}

/// Asks every applier.
pub(super) async fn look(file: &File) -> Known {
    let mut asked = JoinSet::new();
    for peer in appliers(file) {
        asked.spawn(async move { peer.get::<Verifying>("/api/v1/verify").await.ok() });
    }
    Known::of(asked.join_all().await.into_iter().flatten().collect())
}

impl Known {
    /// The newest of what each tells.
    fn of(told: Vec<Verifying>) -> Self {
        let ended = |last: &LastVerified| last.ended_at().unwrap_or_default();
        let last =
            told.iter().filter_map(|view| view.last.clone()).max_by(|a, b| ended(a).total_cmp(&ended(b)));
        let since = last.as_ref().map_or(0.0, ended);
        let failed =
            told.iter().find(|view| view.last_error.is_some() && view.ended.is_some_and(|at| at >= since));
        Self {
            failed: failed.and_then(|view| view.last_error.clone()),
            running: told.into_iter().find_map(|view| view.progress),
            last,
        }
    }

    /// For the page; what was compared on this host may be newer.
    pub(super) fn shown(&self, here: Option<&LastVerified>) -> Value {
        let ended = |last: &&LastVerified| last.ended_at().unwrap_or_default();
        let last = self.last.iter().chain(here).max_by(|a, b| ended(a).total_cmp(&ended(b)));
        json!({ "running": self.running, "failed": self.failed, "last": last })
    }
}

/// Begins one: the first applier that has what it takes.
pub(super) async fn start(file: &File) -> Result<Value, Refusal> {
    let begun: Result<Value, Refused> =
        first(&appliers(file), (Method::POST, "/api/v1/verify"), &json!({}), ORDER_TIMEOUT).await;
    begun.map_err(|refused| {
        let refusal = Refusal::from(refused);
        let remedy = "run twinlog verify -c FILE on a host that has the passwords of all regions";
        Refusal { remedy: Some(refusal.remedy.unwrap_or_else(|| remedy.into())), ..refusal }
    })
}

/// Tells whoever carries one out to stop.
pub(super) async fn cancel(file: &File) -> Value {
    let mut asked = JoinSet::new();
    for peer in appliers(file) {
        asked.spawn(async move { peer.post::<Value>("/api/v1/verify/cancel", &json!({})).await.ok() });
    }
    asked.join_all().await;
    json!({})
}

#[cfg(test)]
mod tests {
    use super::Known;
    use crate::admin::{Progress, Verifying};
    use crate::command::LastVerified;

    fn view(at: Option<&str>, error: Option<(&str, f64)>) -> Verifying {
        let last = at.map(|at| LastVerified {
            at: at.into(),
            result: "equal".into(),
            seconds: 1.0,
            rows: 1,
            tables: Vec::new(),
        });
        let (last_error, ended) = error.map(|(text, at)| (text.to_owned(), at)).unzip();
        Verifying { running: false, since: None, progress: None, ended, last_error, last }
    }

    #[test]
    fn the_newest_outcome_is_shown_and_an_error_only_until_a_later_comparison() {
        let (early, late) = ("2026-11-25T10:00:00Z", "2026-11-25T11:00:00Z");
        let before = view(Some(early), None).last.unwrap().ended_at().unwrap();
        let known = Known::of(vec![view(Some(late), None), view(Some(early), Some(("broke", before + 1.0)))]);
        let shown = known.shown(None);
        assert_eq!((shown["last"]["at"].as_str(), shown["failed"].as_str()), (Some(late), None));
        let known = Known::of(vec![view(Some(early), None), view(None, Some(("broke", before + 1.0)))]);
        assert_eq!(known.shown(None)["failed"], "broke");
        let here = view(Some(late), None).last;
        assert_eq!(known.shown(here.as_ref())["last"]["at"], late);
        let running =
            Verifying { progress: Some(Progress { rows: 7, ..Progress::default() }), ..view(None, None) };
        assert_eq!(Known::of(vec![running]).shown(None)["running"]["rows"], 7);
    }
}
