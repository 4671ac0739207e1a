//! What the writers know they committed, and whether a region holds exactly that.

use std::collections::{BTreeMap, BTreeSet};

use crate::Region;
use crate::schema::{ACCOUNTS, BALANCE, accounts_of};

/// What one writer has committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) writer: i32,
    pub(crate) counters: BTreeMap<i32, i64>,
    pub(crate) tokens: BTreeSet<i64>,
    pub(crate) notes: BTreeMap<u64, String>,
    pub(crate) transfers: u64,
}

impl Known {
    /// `Ok` when the region holds what the writer committed, once each.
    pub(crate) async fn check(&self, region: &Region) -> Result<(), String> {
        let name = format!("writer {} in {}", self.writer, region.name());
        self.check_counters(region).await.map_err(|e| format!("{name}: {e}"))?;
        self.check_tape(region).await.map_err(|e| format!("{name}: {e}"))?;
        self.check_notes(region).await.map_err(|e| format!("{name}: {e}"))?;
        self.check_accounts(region).await.map_err(|e| format!("{name}: {e}"))
    }

    async fn check_counters(&self, region: &Region) -> Result<(), String> {
        for (id, n) in region.rows::<(i32, i64)>("SELECT id, n FROM shop.counter").await {
            if let Some(&known) = self.counters.get(&id)
                && known != n
            {
                return Err(format!("counter {id} is {n}, but was raised {known} times"));
            }
        }
        Ok(())
    }

    async fn check_tape(&self, region: &Region) -> Result<(), String> {
        let query = format!("SELECT token FROM shop.tape WHERE writer = {}", self.writer);
        let rows: Vec<i64> = region.rows(&query).await;
        let there: BTreeSet<i64> = rows.iter().copied().collect();
        let missing: Vec<_> = self.tokens.difference(&there).take(5).collect();
        let foreign: Vec<_> = there.difference(&self.tokens).take(5).collect();
        if rows.len() == self.tokens.len() && missing.is_empty() && foreign.is_empty() {
            return Ok(());
        }
        let twice = rows.len() - there.len();
        let committed = self.tokens.len();
        Err(format!(
            "tape: {committed} committed, missing {missing:?}, never committed {foreign:?}, {twice} doubled"
        ))
    }

    async fn check_notes(&self, region: &Region) -> Result<(), String> {
        let query = format!("SELECT id, body FROM shop.note WHERE writer = {}", self.writer);
        let there: BTreeMap<u64, String> = region.rows(&query).await.into_iter().collect();
        if there == self.notes {
            return Ok(());
        }
        let differs = |id: &&u64| self.notes.get(id) != there.get(id);
        let ids: BTreeSet<_> = self.notes.keys().chain(there.keys()).collect();
        let ids: Vec<_> = ids.iter().filter(|id| differs(id)).take(5).collect();
        Err(format!("notes: {} known, {} there, different: {ids:?}", self.notes.len(), there.len()))
    }

    async fn check_accounts(&self, region: &Region) -> Result<(), String> {
        let ids = accounts_of(self.writer);
        let mine = format!("BETWEEN {} AND {}", ids.start, ids.end - 1);
        let sum =
            format!("SELECT CAST(COALESCE(SUM(balance), 0) AS SIGNED) FROM shop.account WHERE id {mine}");
        let sum: i64 = region.row(&sum).await;
        let transfers = format!("SELECT COUNT(*) FROM shop.transfer WHERE payer {mine}");
        let transfers: u64 = region.row(&transfers).await;
        let whole = i64::from(ACCOUNTS) * BALANCE;
        if sum == whole && transfers == self.transfers {
            return Ok(());
        }
        Err(format!("balances: {sum} of {whole}; transfers: {transfers} there, {} committed", self.transfers))
    }
}
