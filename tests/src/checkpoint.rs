//! What the checkpoint in a target says, against what its tables hold.

use binlog::GtidSet;

use crate::{Pair, Region};

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
