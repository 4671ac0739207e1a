//! The planner's part in the initial copy: rows that are not copied yet are passed over, chunks get their places.

use binlog::event::Query;
use binlog::{Event, Gtid, GtidSet};

use super::{Planner, Work};
use crate::Error;
use crate::copy::{ChunkId, Place, Placed, Told, Weaver};
use crate::ddl::{self, Change};
use crate::mark::Mark;

/// What those who copy tell next; never, where nothing is copied. Cancellation safe.
pub(super) async fn listen(copy: &mut Option<Weaver>) -> Told {
    match copy {
        Some(copy) => copy.listen().await,
        None => std::future::pending().await,
    }
}

impl Planner {
    /// Takes what was told; notes what is complete.
    pub(super) fn take_told(&mut self, told: Told) {
        let Some(copy) = &mut self.copy else { return };
        let notes = copy.take(told, &self.follower.seen);
        let complete = copy.is_over();
        if !notes.is_empty() {
            self.persist(notes);
        }
        if complete {
            tracing::info!("initial copy is complete");
            self.copy = None;
            self.progress.copied_all();
        }
    }

    /// Writes down what was passed over, with these statements.
    fn persist(&mut self, notes: Vec<String>) {
        self.close_group();
        let passed = std::mem::take(&mut self.passed);
        let (covers, mark) = if passed.covers.is_empty() {
            (GtidSet::new(), self.here())
        } else {
            (passed.covers, passed.mark)
        };
        self.ready.push_back(Work::Persist { covers, mark, notes });
    }

    /// Makes indexes that wait for rows and that a statement may be about.
    pub(super) async fn indexes_before(&mut self, query: &Query<'_>) -> Result<(), Error> {
        let Some(copy) = &self.copy else { return Ok(()) };
        let text = String::from_utf8_lossy(query.sql);
        let names = ddl::names_in(&text, ddl::has_ansi_quotes(query));
        copy.make_indexes_of(&names).await
    }

    /// What notes what a statement does to tables that are copied. One that takes a table away, or gives it another name
    /// or other columns, while it is copied makes the link begin its round anew behind it.
    pub(super) fn note_ddl(&mut self, changes: &[Change]) -> Vec<String> {
        let Some(copy) = &self.copy else { return Vec::new() };
        self.anew_behind_ddl = copy.has_unfinished(changes, self.rules.filter.names());
        copy.notes_of(changes)
    }

    /// Where the stream is now.
    fn here(&self) -> Mark {
        self.last_mark.clone()
    }

    /// The stream has passed this transaction.
    pub(super) fn passed_by(&mut self, gtid: &Gtid) {
        if let Some(copy) = &mut self.copy {
            copy.pass(gtid);
        }
    }

    /// Gives chunks their places, as far as the stream has passed what they have seen. What was passed over before is
    /// written down first: after a restart the stream goes on behind every chunk that is copied. Behind a statement that is
    /// not run yet none gets one: the statement waits for all that have theirs.
    pub(super) async fn place_chunks(&mut self) -> Result<(), Error> {
        if self.ddl_done.is_some() {
            return Ok(());
        }
        let (Some(copy), Some(format)) = (&mut self.copy, &self.format) else { return Ok(()) };
        let ready = copy.ready();
        if ready.is_empty() {
            return Ok(());
        }
        let format = format.clone();
        self.close_group();
        if !self.passed.covers.is_empty() {
            self.persist(Vec::new());
        }
        for chunk in ready {
            let target = self.catalog.like(&chunk.table.map, &chunk.table.shapes).await?;
            let placed = Box::new(Placed {
                touched: chunk.touched,
                passed_over: chunk.passed_over,
                target,
                format: format.clone(),
                applied: GtidSet::new(),
                mark: Mark::default(),
            });
            self.ready.push_back(Work::Place(Place { placed, reply: chunk.reply }));
        }
        Ok(())
    }

    /// What of a transaction's rows is applied now, and which chunks must be committed before.
    pub(super) async fn weave(
        &mut self,
        gtid: &Gtid,
        events: Vec<Event>,
    ) -> Result<(Vec<Event>, Vec<ChunkId>), Error> {
        let Some(copy) = &mut self.copy else { return Ok((events, Vec::new())) };
        let woven = copy.weave(gtid, &events, self.catalog.session()).await?;
        Ok((woven.events, woven.behind))
    }
}
