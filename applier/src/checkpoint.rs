//! Checkpoint, fence and stamp: one row, written first in every group's transaction.
//!
//! **Promise 2** (exactly once) rests here. The rows of a group and the GTIDs they stand for commit together;
//! `seq = IF(epoch = mine AND seq = expected, seq + 1, NULL)` on a column that is NOT NULL makes a stale
//! applier, or one that runs a group a second time after a commit of unknown outcome, fail with error 1048
//! before it has changed a row. At start the link's rows are locked, which waits out a commit still in doubt,
//! the epoch is raised, and only then the applied set is read.
//!
//! Rows go round sixteen slots, so that neighbouring groups touch different rows and a replica of the target
//! can run them side by side. Each row holds the whole applied set; the state is the union.

use std::sync::Arc;

use binlog::GtidSet;
use binlog::stamp::{CHECKPOINT_TABLE, SLOTS};
use wire::Connection;

use crate::conflict::seen::Seen;
use crate::conflict::window::Done;
use crate::executed::executed_in_target;
use crate::mark::Mark;
use crate::origin::LinkKey;
use crate::{Error, sql};

/// A link's checkpoint, held by this applier.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// The table, quoted.
    table: String,
    /// The link's rows, as a condition.
    rows: String,
    epoch: u64,
    seq: [u64; SLOTS as usize],
    slot: u8,
    applied: GtidSet,
    mark: Mark,
    /// The part of the target's own log that the conflict window is done with.
    done: Done,
}

/// Column definitions of the checkpoint table; [`binlog::stamp`] reads the first six and `clock` by position.
pub(crate) const COLUMNS: &str = "\
  origin VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  slot TINYINT UNSIGNED NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  gtid_set LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  source_file VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  source_position BIGINT UNSIGNED NOT NULL,
  updated_at TIMESTAMP(6) NOT NULL,
  clock BIGINT UNSIGNED NOT NULL DEFAULT 0,
  seen LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NULL,
  target_gtid_set LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NULL,
  target_clock BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (origin, link, slot)";

impl Checkpoint {
    fn names(schema: &str, link: &LinkKey) -> (String, String) {
        let table = sql::table(schema, CHECKPOINT_TABLE);
        (table, format!("origin = {} AND link = {}", sql::text(&link.from), sql::text(&link.text())))
    }

    /// Takes the link over from whoever held it: locks its rows, raises the epoch, commits, reads. `None`
    /// when the link has no rows yet.
    pub(crate) async fn take_over(
        connection: &mut Connection,
        schema: &str,
        link: &LinkKey,
    ) -> Result<Option<Self>, Error> {
        let failed = Error::target("taking the link over");
        let (table, rows) = Self::names(schema, link);
        connection.execute("BEGIN").await.map_err(&failed)?;
        let lock = format!("SELECT slot FROM {table} WHERE {rows} FOR UPDATE");
        let locked = connection.query_rows(lock).await.map_err(&failed)?.rows.len();
        if locked > 0 {
            let raise = format!("UPDATE {table} SET epoch = epoch + 1 WHERE {rows}");
            connection.execute(raise).await.map_err(&failed)?;
        }
        connection.execute("COMMIT").await.map_err(&failed)?;
        if locked == 0 { Ok(None) } else { Self::read(connection, table, rows).await.map(Some) }
    }

    async fn read(connection: &mut Connection, table: String, rows: String) -> Result<Self, Error> {
        let failed = Error::target("reading the checkpoint");
        let query = format!(
            "SELECT slot, epoch, seq, gtid_set, source_file, source_position, clock, seen, target_gtid_set, target_clock FROM {table} WHERE {rows} ORDER BY updated_at"
        );
        let mut checkpoint = Self {
            table,
            rows,
            epoch: 0,
            seq: [0; SLOTS as usize],
            slot: 0,
            applied: GtidSet::new(),
            mark: Mark::default(),
            done: Done::default(),
        };
        let mut seen = Seen::default();
        let result = connection.query_rows(query).await.map_err(&failed)?;
        for row in result.iter() {
            let slot: usize = row.parse("slot").map_err(&failed)?;
            let seq = row.parse("seq").map_err(&failed)?;
            *checkpoint.seq.get_mut(slot).ok_or_else(|| malformed("slot"))? = seq;
            checkpoint.epoch = row.parse("epoch").map_err(&failed)?;
            let set = row.text("gtid_set").map_err(&failed)?;
            checkpoint.applied.union_with(&set.parse().map_err(|_| malformed("gtid_set"))?);
            let (file, position) = (row.text("source_file"), row.parse("source_position"));
            checkpoint.mark.end.rotate(&file.map_err(&failed)?, position.map_err(&failed)?);
            checkpoint.mark.clock = checkpoint.mark.clock.max(row.parse("clock").map_err(&failed)?);
            if let Some(text) = row.optional_text("seen").map_err(&failed)? {
                seen.union_with(&Seen::from_text(&text).ok_or_else(|| malformed("seen-set"))?);
            }
            if let Some(text) = row.optional_text("target_gtid_set").map_err(&failed)? {
                checkpoint.done.gtids.union_with(&text.parse().map_err(|_| malformed("target_gtid_set"))?);
            }
            let clock = row.parse("target_clock").map_err(&failed)?;
            checkpoint.done.clock = checkpoint.done.clock.max(clock);
        }
        checkpoint.mark.seen = Arc::new(seen);
        if result.rows.len() == usize::from(SLOTS) {
            Ok(checkpoint)
        } else {
            Err(malformed("number of rows"))
        }
    }

    /// The statements that give a link its first rows, in a transaction of their own: it begins behind `start`.
    pub(crate) fn first_rows(schema: &str, link: &LinkKey, start: &GtidSet, seen: &Seen) -> String {
        let (table, _) = Self::names(schema, link);
        let (origin, key, set) =
            (sql::text(&link.from), sql::text(&link.text()), sql::text(&start.to_string()));
        let seen = sql::text(&seen.to_text());
        let row = |slot| format!("({origin}, {key}, {slot}, 0, 0, {set}, '', 0, NOW(6), 0, {seen}, NULL, 0)");
        let rows: Vec<String> = (0..SLOTS).map(row).collect();
        format!("INSERT INTO {table} VALUES {}", rows.join(", "))
    }

    /// What each link into this server has applied: a link's key, and the set of one of its rows.
    pub(crate) async fn applied_by_link(
        connection: &mut Connection,
        schema: &str,
    ) -> Result<Vec<(String, GtidSet)>, Error> {
        let failed = Error::target("reading the checkpoints");
        let query = format!("SELECT link, gtid_set FROM {}", sql::table(schema, CHECKPOINT_TABLE));
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let mut all = Vec::with_capacity(rows.rows.len());
        for row in rows.iter() {
            let set = row.text("gtid_set").map_err(&failed)?;
            let set = set.parse().map_err(|_| malformed("gtid_set"))?;
            all.push((row.text("link").map_err(&failed)?, set));
        }
        Ok(all)
    }

    /// What this server has applied of each other region of a sync.
    pub(crate) async fn applied_by_region(
        connection: &mut Connection,
        schema: &str,
        sync: &str,
    ) -> Result<Seen, Error> {
        let mut all = Seen::default();
        for (link, set) in Self::applied_by_link(connection, schema).await? {
            // Rows that stamp repairs and copies have longer keys.
            if let [of, from, _] = link.split('/').collect::<Vec<_>>()[..]
                && of == sync
            {
                all.add(from, &set, 0);
            }
        }
        Ok(all)
    }

    /// What of the target's own log the source's region has seen, as far as the link knows, and that log's clock there.
    pub(crate) async fn seen_of(
        &self,
        target: &str,
        schema: &str,
        session: &mut Connection,
    ) -> Result<(GtidSet, u64), Error> {
        let of_target = self.mark.seen.of(target);
        let mut seen = of_target.gtids;
        seen.union_with(&self.done.gtids);
        // DDL of other regions ran in the target under its original GTIDs. Their rows did not: a relay that knows a uuid
        // from the former would take who asks behind the latter for one that is ahead of it.
        let executed = executed_in_target(session).await?;
        for (_, applied) in Self::applied_by_link(session, schema).await? {
            seen.union_with(&applied.intersection(&executed));
        }
        Ok((seen, of_target.clock.max(self.done.clock)))
    }

    /// All that is applied.
    pub(crate) fn applied(&self) -> &GtidSet {
        &self.applied
    }

    /// The part of the target's own log that the conflict window is done with.
    pub(crate) fn done(&self) -> &Done {
        &self.done
    }

    /// What the next statement is to say of it.
    pub(crate) fn set_done(&mut self, done: Done) {
        self.done = done;
    }

    /// Where that ends in the source's log.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// What the next group's transaction begins with: the fence, and the set with the group in it.
    pub(crate) fn statement(&self, covered: &GtidSet, mark: &Mark) -> String {
        let mut applied = self.applied.clone();
        applied.union_with(covered);
        let Self { table, rows, epoch, slot, .. } = self;
        let seq = self.seq[usize::from(*slot)];
        format!(
            "UPDATE {table} SET seq = IF(epoch = {epoch} AND seq = {seq}, seq + 1, NULL), gtid_set = '{applied}', \
             source_file = {}, source_position = {}, updated_at = SYSDATE(6), clock = {}, seen = {}, \
             target_gtid_set = '{}', target_clock = {} \
             WHERE {rows} AND slot = {slot}",
            sql::text(&mark.end.file),
            mark.end.position,
            mark.clock,
            sql::text(&mark.seen.to_text()),
            self.done.gtids,
            self.done.clock
        )
    }

    /// The transaction that began with [`Self::statement`] is committed.
    pub(crate) fn committed(&mut self, covered: &GtidSet, mark: &Mark) {
        self.applied.union_with(covered);
        self.mark = mark.clone();
        self.seq[usize::from(self.slot)] += 1;
        self.slot = (self.slot + 1) % SLOTS;
    }
}

fn malformed(what: &'static str) -> Error {
    Error::NotApplicable {
        gtid: "checkpoint".into(),
        what: format!("the checkpoint table has a malformed {what}"),
        remedy: "restore the meta schema, or begin anew with twinlog link reset".into(),
    }
}
