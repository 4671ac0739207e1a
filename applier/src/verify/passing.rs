//! Have the links passed a point? Lag is told from difference by this alone.
//!
//! After a read, a mark is written in each region, then `gtid_executed` is asked for, then a second mark is written. In
//! the binary log the first mark stands behind every transaction that the read can have seen, also one that was visible
//! before its GTID was in `gtid_executed`; so the set holds them all. The second stands behind the set, and an applier
//! that meets a mark writes down at once what it has passed over: so its checkpoint comes to hold the set, although most
//! of what it passes over alone would never cause a write.
//!
//! A region that nothing writes into has no meta schema to write marks in. There the set alone must do, and rows have to
//! be seen once more.

use std::collections::BTreeMap;
use std::time::Duration;

use binlog::GtidSet;
use binlog::stamp::CHECKPOINT_TABLE;
use tokio::time::Instant;

use super::session::{Place, Session};
use super::{Error, LinkInfo};
use crate::meta::{MARK_COLUMNS, MARK_TABLE};
use crate::origin::LinkKey;
use crate::sql;

/// Between two looks at a checkpoint: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(250);
/// How long is waited when the links did not pass the last time either.
const SHORT: Duration = Duration::from_secs(1);

/// One link, as its target's checkpoint knows it.
struct Crossing {
    name: String,
    from: String,
    to: String,
    /// The condition of its rows.
    rows: String,
}

/// Watches every link of the sync.
pub(super) struct Passing {
    sync: String,
    schema: String,
    sessions: BTreeMap<String, Session>,
    /// Regions in which marks can be written.
    marked: BTreeMap<String, bool>,
    crossings: Vec<Crossing>,
    wait: Duration,
    /// The last time, links did not pass.
    stuck: bool,
}

/// A point in each region's binary log.
pub(super) type Point = BTreeMap<String, GtidSet>;

impl Passing {
    pub(super) async fn open(
        sync: &str,
        schema: &str,
        places: &BTreeMap<String, Place>,
        links: &[LinkInfo],
        wait: Duration,
    ) -> Result<Self, Error> {
        let crossings = links.iter().map(|link| {
            let key = LinkKey { sync: sync.into(), from: link.from.clone(), to: link.to.clone() };
            let rows = format!("origin = {} AND link = {}", sql::text(&key.from), sql::text(&key.text()));
            Crossing { name: link.name.clone(), from: link.from.clone(), to: link.to.clone(), rows }
        });
        let mut passing = Self {
            sync: sync.into(),
            schema: schema.into(),
            sessions: BTreeMap::new(),
            marked: BTreeMap::new(),
            crossings: crossings.collect(),
            wait,
            stuck: false,
        };
        for (region, place) in places {
            let mut session = Session::open(place).await?;
            passing.marked.insert(region.clone(), passing.prepare(&mut session).await?);
            passing.sessions.insert(region.clone(), session);
        }
        Ok(passing)
    }

    /// Can every region be marked? Else a row must be seen once more.
    pub(super) fn is_marked(&self) -> bool {
        self.marked.values().all(|marked| *marked)
    }

    /// Makes the table of marks where there is a meta schema; `false` where marks can't be written.
    async fn prepare(&self, session: &mut Session) -> Result<bool, Error> {
        let schema = sql::text(&self.schema);
        let tables = session
            .ask(
                "looking for the meta schema",
                &format!(
                    "SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema}"
                ),
            )
            .await?;
        let has = |name: &str| tables.iter().any(|row| row.text("t").is_ok_and(|t| t == name));
        if !has(CHECKPOINT_TABLE) {
            return Ok(false);
        }
        if has(MARK_TABLE) {
            return Ok(true);
        }
        let table = sql::table(&self.schema, MARK_TABLE);
        let create = format!("CREATE TABLE IF NOT EXISTS {table} ({MARK_COLUMNS}) ENGINE = InnoDB");
        match session.run("making the table of marks", &create).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.code(), Some(1044 | 1142 | 1290 | 1836)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Marks every region; gives what stands before the marks.
    pub(super) async fn mark(&mut self) -> Result<Point, Error> {
        let mark = format!(
            "INSERT INTO {} VALUES ({}, 1, NOW(6)) ON DUPLICATE KEY UPDATE count = count + 1, marked_at = NOW(6)",
            sql::table(&self.schema, MARK_TABLE),
            sql::text(&self.sync)
        );
        let mut point = Point::new();
        for (region, session) in &mut self.sessions {
            let marked = self.marked.get(region) == Some(&true);
            if marked {
                session.run("writing a mark", &mark).await?;
            }
            let doing = "reading gtid_executed";
            let set = session.ask(doing, "SELECT @@GLOBAL.gtid_executed").await?.single_text();
            let set = set.map_err(Error::wire(region, doing))?;
            let set = set.parse().map_err(|_| Error::answer(region, doing, &set))?;
            if marked {
                session.run("writing a mark", &mark).await?;
            }
            point.insert(region.clone(), set);
        }
        Ok(point)
    }

    /// The first link that has not passed the point, and what it lacks.
    pub(super) async fn lacking(&mut self, point: &Point) -> Result<Option<String>, Error> {
        let doing = "reading a link's checkpoint";
        let table = sql::table(&self.schema, CHECKPOINT_TABLE);
        for crossing in &self.crossings {
            let (Some(wanted), Some(session)) =
                (point.get(&crossing.from), self.sessions.get_mut(&crossing.to))
            else {
                continue;
            };
            let query = format!("SELECT gtid_set FROM {table} WHERE {}", crossing.rows);
            let rows = match session.ask(doing, &query).await {
                Ok(rows) => rows,
                // No meta schema yet: the link has never run.
                Err(error) if matches!(error.code(), Some(1049 | 1146)) => continue,
                Err(error) => return Err(error),
            };
            let mut applied = GtidSet::new();
            for row in rows.iter() {
                let set = row.text("gtid_set").map_err(Error::wire(&crossing.to, doing))?;
                applied.union_with(&set.parse().map_err(|_| Error::answer(&crossing.to, doing, &set))?);
            }
            // A link that was never born brings nothing.
            if !rows.rows.is_empty() && !applied.contains_all(wanted) {
                let missing = wanted.minus(&applied);
                return Ok(Some(format!("link {} has not passed {missing}", crossing.name)));
            }
        }
        Ok(None)
    }

    /// Waits until every link has passed what there is now. `Some`: one did not within the time, and why.
    pub(super) async fn pass(&mut self) -> Result<Option<String>, Error> {
        let mut lacking = None;
        // What came over one link may have to go over another: as many times as there can be steps.
        for _ in 1..self.sessions.len().max(2) {
            let point = self.mark().await?;
            lacking = self.wait_for(&point).await?;
            if lacking.is_some() {
                break;
            }
        }
        self.stuck = lacking.is_some();
        Ok(lacking)
    }

    async fn wait_for(&mut self, point: &Point) -> Result<Option<String>, Error> {
        let deadline = Instant::now() + if self.stuck { self.wait.min(SHORT) } else { self.wait };
        let mut pause = FIRST_PAUSE;
        loop {
            let lacking = self.lacking(point).await?;
            if lacking.is_none() || Instant::now() >= deadline {
                return Ok(lacking);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}
