//! What the checkpoint in a target says, against what its tables hold.

use std::time::Duration;

use binlog::GtidSet;

use crate::{Pair, Region, until};

impl Pair {
    /// The source GTIDs that the checkpoint of this pair's link into `target` holds: the union of its rows.
    pub async fn checkpoint(&self, target: &Region) -> GtidSet {
        let query = format!("SELECT CAST(gtid_set AS CHAR) FROM `{}`.checkpoint", self.file().meta_schema);
        let mut union = GtidSet::new();
        for text in target.rows::<String>(&query).await {
            union.union_with(&parse(&text));
        }
        union
    }

    /// Waits until a link has applied or passed over all that its source has executed by now; panics when it fails.
    pub async fn wait_applied(&self, link: &str, within: Duration) {
        let (from, _) = link.split_once('-').expect("links are named from-to");
        let executed = self.region(from).executed().await;
        until(&format!("{link} has all of {from}"), within, async || {
            let status = self.link_status(link).await;
            assert_ne!(status.state(), "failed", "{}", status.last_error());
            let missing = executed.minus(&parse(status.text("gtid_applied")));
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing} {}", status.json())) }
        })
        .await;
    }
}

impl Region {
    /// `gtid_executed` as a set.
    pub async fn executed(&self) -> GtidSet {
        parse(&self.gtid_executed().await)
    }

    /// Runs the statements as one transaction and gives its GTID, as a set of one. Nobody else may write meanwhile.
    pub async fn transaction<S: AsRef<str>>(&self, statements: &[S]) -> GtidSet {
        let before = self.executed().await;
        let mut all = vec!["BEGIN"];
        all.extend(statements.iter().map(AsRef::as_ref));
        all.push("COMMIT");
        self.run_all(&all).await;
        let gtid = self.executed().await.minus(&before);
        assert_eq!(gtid.count(), 1, "{}: somebody else wrote meanwhile: {gtid}", self.name());
        gtid
    }
}

fn parse(text: &str) -> GtidSet {
    text.parse().unwrap_or_else(|e| panic!("not a GTID set: {text:?}: {e}"))
}
