//! The reader of the target's own log for a round: kept from the round before, or begun where it is needed from.

use std::sync::Arc;

use binlog::GtidSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Link;
use crate::checkpoint::Checkpoint;
use crate::collations::Collations;
use crate::conflict::follow::{self, TargetLog};
use crate::conflict::shared::SharedWindow;
use crate::conflict::shelf::{ReadFor, Shelf};
use crate::copy::{self, Doubts};
use crate::filter::Filter;
use crate::origin::Owners;
use crate::source::Attach;
use crate::{Error, target};

/// The reader of the target's log, and what it reads for if it may be kept.
pub(super) type Following = (TargetLog, Option<ReadFor>);

/// What of a copy the reader of the target's log is told.
pub(super) struct CopyFound {
    pub(super) doubts: Option<Doubts>,
    /// Behind what of the target's log keys may be in doubt.
    begun: Option<GtidSet>,
    is_reopened: bool,
}

impl CopyFound {
    pub(super) fn of(found: &copy::Found) -> Self {
        Self { doubts: found.doubts.clone(), begun: found.begun.clone(), is_reopened: found.is_reopened }
    }
}

impl Link {
    /// What a reader is for: it serves a round for which all of this is the same.
    pub(super) fn read_for(&self, target: Uuid, owners: Owners, orders: u64) -> ReadFor {
        ReadFor { config: self.config.clone(), target, owners, orders }
    }

    /// The conflict window and its reader, where a table's conflicts are found by it. It begins behind what the
    /// source's region had seen of the target at the checkpoint.
    pub(super) async fn watch_target(
        &self,
        checkpoint: &Checkpoint,
        read_for: ReadFor,
        collations: &Arc<Collations>,
        copies: Option<CopyFound>,
    ) -> Result<(Option<Following>, Option<SharedWindow>), Error> {
        let config = &self.config;
        let Some(relay) = config.target_relay.as_ref().filter(|_| config.conflicts.any_by_row()) else {
            return Ok((None, None));
        };
        let mut session = target::connect(&config.targets).await?;
        let seen = &checkpoint.mark().seen;
        let copies = copies.filter(|copies| copies.doubts.is_some());
        if let Some(log) = self.shelf.take(&read_for, seen).filter(|_| copies.is_none()) {
            let (window, log) = (log.window(), log.with_session(session));
            return Ok((Some((log, Some(read_for))), Some(window)));
        }
        let (behind, clock) = checkpoint.seen_of(&config.to, &config.meta_schema, &mut session).await?;
        // While rows are copied every write here counts that the way back brings: from where that began. Where a copy was
        // opened again what the source's region had not seen then counts, and clocks are compared from where it has seen now.
        let (behind, clock) = match &copies {
            Some(CopyFound { begun: Some(begun), is_reopened, .. }) => {
                (begun.clone(), if *is_reopened { clock } else { 0 })
            }
            _ => (behind, clock),
        };
        let window = SharedWindow::behind(behind, clock, config.state_dir.clone());
        if !config.others.is_empty() {
            let applied = Checkpoint::applied_by_region(&mut session, &config.meta_schema, &config.sync);
            window.applied(&Arc::new(applied.await?));
        }
        let rules = follow::Rules {
            link: self.key.clone(),
            filter: Filter::new(config.objects.clone(), &config.meta_schema),
            meta_schema: config.meta_schema.clone(),
            owners: read_for.owners.clone(),
            regions: config.regions.keys().cloned().collect(),
            ddl_back: config.ddl_back,
        };
        let attach = Attach::to_target(config, &self.key, relay);
        let log = TargetLog::new(attach, rules, window.clone(), session, collations.clone());
        let is_kept = copies.is_none();
        let log = log.noting(copies.and_then(|copies| copies.doubts));
        Ok((Some((log, is_kept.then_some(read_for))), Some(window)))
    }
}

/// Reads the target's log until `stop`. The window is kept for the next round, but for that of a copy: it holds keys in
/// doubt.
pub(super) async fn follow(
    mut log: TargetLog,
    read_for: Option<ReadFor>,
    shelf: Shelf,
    stop: CancellationToken,
) -> Result<(), Error> {
    log.run(stop).await?;
    if let Some(read_for) = read_for {
        shelf.put(log, read_for);
    }
    Ok(())
}
