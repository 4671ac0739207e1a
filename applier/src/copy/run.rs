//! The copy of a link, from what is found at its begin to the last chunk.

use std::sync::Arc;

use binlog::{Event, GtidSet};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::Connection;

use super::doubt::Doubts;
use super::hand::{Hand, Shared};
use super::indexes::{self, Indexer};
use super::load::{Load, TableState};
use super::order::{KeyShape, SortKey};
use super::passed::PassedOver;
use super::ranges::{Part, Ranges};
use super::stamp::Stamp;
use super::table::{self, SourceTable};
use super::throttle::Throttle;
use super::touched::Touched;
use super::two_way::{Settling, TwoWay, WayBack};
use super::value;
use super::walk;
use super::weave::{Copied, Copies, Weaver};
use crate::catalog::TargetTable;
use crate::collations::Collations;
use crate::config::Config;
use crate::filter::Filter;
use crate::life::gate::Gate;
use crate::mark::Mark;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::progress::Progress;
use crate::status::TableLoad;
use crate::structure::{self, Behind};
use crate::verify::key::KeyValue;
use crate::{Error, Existing, sql, target};

/// What a chunk is told when it has its place, or has not.
#[derive(Debug)]
pub(crate) enum Answer {
    Go(Box<Placed>),
    /// Its table has no key, and was touched: a new snapshot is needed, which sees all of this.
    Again(GtidSet),
}

/// A chunk's place in the stream.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) touched: Touched,
    /// Its keys whose changes were passed over.
    pub(crate) passed_over: PassedOver,
    pub(crate) target: Arc<TargetTable>,
    /// How the target is told to read row events.
    pub(crate) format: Event,
    /// What of the source is applied there.
    pub(crate) applied: GtidSet,
    pub(crate) mark: Mark,
}

/// A chunk on its way to the one who applies, who sends it on once all before it is committed.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) placed: Box<Placed>,
    pub(crate) reply: oneshot::Sender<Answer>,
}

impl Place {
    /// All before it is committed.
    pub(crate) fn go(mut self, applied: &GtidSet, mark: &Mark) {
        self.placed.applied.union_with(applied);
        self.placed.mark = mark.clone();
        // Who copies has ended otherwise; it tells why.
        _ = self.reply.send(Answer::Go(self.placed));
    }
}

/// A copy that is ready to run beside the link's other tasks.
pub(crate) struct Copy {
    source: Connection,
    tables: Vec<(Arc<SourceTable>, TableState)>,
    hands: Vec<Hand>,
    indexer: Option<Indexer>,
    wanted: mpsc::Sender<walk::Wanted>,
    limits: super::config::Load,
    settling: Option<Settling>,
    progress: Progress,
}

/// Where the copy of a link reads and writes.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) config: &'a Config,
    pub(crate) schema: &'a str,
    pub(crate) link: &'a LinkKey,
    pub(crate) filter: &'a Filter,
    pub(crate) collations: &'a Arc<Collations>,
    pub(crate) max_packet: usize,
    pub(crate) applied: &'a GtidSet,
    pub(crate) progress: &'a Progress,
    pub(crate) gate: &'a Gate,
}

/// What there is to copy.
pub(crate) struct Found {
    source: Connection,
    tables: Vec<(Arc<SourceTable>, TableState)>,
    copied: Vec<Copied>,
    stamps: Vec<Stamp>,
    load: Load,
    /// Tables whose copy has begun and that the source has no more, by their names in the target.
    gone: Vec<Name>,
    /// Indexes that are made when rows are copied.
    waiting: Vec<Behind>,
    /// Keys in doubt, where a pair writes on both sides.
    pub(crate) doubts: Option<Doubts>,
    /// Behind what of the target's log keys may be in doubt, there: the way back has begun there, or the copy was opened
    /// again there.
    pub(crate) begun: Option<GtidSet>,
    /// It was opened again, for tables that joined: all others are complete.
    pub(crate) is_reopened: bool,
}

/// What is to be copied, if the link's copy has begun and not ended. `connection` is the link's session in the target.
///
/// # Errors
///
/// A table that is missing in the target, or holds rows although `existing` is `error`, is named.
pub(crate) async fn find(connection: &mut Connection, places: &Places<'_>) -> Result<Option<Found>, Error> {
    let Places { config, schema, link, progress, .. } = *places;
    let load = Load::new(schema, link);
    let waiting = structure::waiting(connection, schema, link).await?;
    let Some(open) = load.read(connection).await? else {
        indexes::make_all(connection, schema, link, &waiting).await?;
        return Ok(None);
    };
    let is_reopened = open.begun.is_some();
    let begun = match (WayBack::of(config, schema, link), open.begun) {
        (Some(_), Some(begun)) => Some(begun),
        (Some(back), None) => Some(back.begin(progress).await?),
        (None, _) => None,
    };
    let mut source = table::connect(&config.source_servers).await?;
    let mut states = open.tables;
    let names = places.filter.names();
    let found = table::list(&mut source, |name| states.contains_key(name), names, places.collations).await?;
    let mut notes = Vec::new();
    let (mut tables, mut copied) = (Vec::new(), Vec::new());
    for table in found {
        let state = states.remove(&(table.database.clone(), table.table.clone())).unwrap_or_default();
        // What was passed over before it was cut off is not known any more.
        let passed_over = if state.waits { PassedOver::default() } else { PassedOver::Any };
        if state.waits {
            // In a table that the link has made, only what the way back brings can stand; where a copy was opened again
            // in a pair, it was looked at before.
            if !((config.load.initial.has_structure() || is_reopened) && begun.is_some()) {
                check_target(connection, &table, config.load.existing).await?;
            }
            notes.push(load.begin_table(&table));
        }
        let table = Arc::new(table);
        copied.push(resume(connection, &table, &state, passed_over).await?);
        tables.push((table, state));
    }
    let unfinished = states.into_iter().filter(|(_, state)| !state.done);
    let gone: Vec<Name> =
        unfinished.filter_map(|((database, table), _)| names.there(&database, &table)).collect();
    // Of tables that are none of the copy any more.
    let is_copied = |behind: &Behind| tables.iter().any(|(table, _)| table.is_there(&behind.table));
    let (waiting, left): (Vec<Behind>, Vec<Behind>) = waiting.into_iter().partition(is_copied);
    indexes::make_all(connection, schema, link, &left).await?;
    let all_done = gone.is_empty() && waiting.is_empty() && tables.iter().all(|(_, state)| state.done);
    if all_done && begun.is_none() {
        notes.extend(load.end());
    }
    let mut stamps = Stamp::take(connection, schema, link, config.load.threads).await?;
    if let Some(stamp) = stamps.first_mut().filter(|_| !notes.is_empty()) {
        note(connection, stamp, places.applied, &notes).await?;
    }
    if all_done && begun.is_none() {
        return Ok(None);
    }
    let doubts = begun.as_ref().map(|_| Doubts::new(tables.iter().map(|(table, _)| table.clone())));
    Ok(Some(Found { source, tables, copied, stamps, load, gone, waiting, doubts, begun, is_reopened }))
}

impl Found {
    /// Makes it ready to run. `two_way`: what the target itself writes is to be held against.
    pub(crate) async fn start(
        self,
        places: &Places<'_>,
        two_way: Option<TwoWay>,
        stop: CancellationToken,
    ) -> Result<(Copy, Weaver), Error> {
        let Self { source, tables, copied, stamps, load, gone, waiting, is_reopened, .. } = self;
        let Places { config, progress, .. } = *places;
        progress.copies(copied.iter().map(as_status).collect());
        let (tell, told) = mpsc::channel(config.load.threads * 2);
        let (complete, completed) = watch::channel(false);
        let complete = two_way.as_ref().map(|_| complete);
        let name_here = |there: &Name| {
            let found = tables.iter().find(|(table, _)| table.is_there(there));
            found.map(|(table, _)| (table.database.clone(), table.table.clone()))
        };
        let (indexes, indexer) = indexes::open(places, waiting, name_here).await?;
        let copies = Copies { tables: copied, gone, is_reopened, indexes };
        let weaver =
            Weaver::new(copies, places.applied.clone(), told, load.clone(), progress.clone(), complete);
        let (wanted, ranges) = mpsc::channel(1);
        let settling = match &two_way {
            Some(two_way) => {
                let settling = Settling::new(places, two_way.clone(), completed, tell.clone(), load.clone());
                let settling = settling.await?;
                // The other link copies nothing of what has joined: this one settles.
                Some(if is_reopened { settling.alone() } else { settling })
            }
            None => None,
        };
        let shared = Arc::new(Shared {
            ranges: Mutex::new(ranges),
            tell,
            load,
            in_flight: weaver.in_flight(),
            max_packet: places.max_packet,
            server_id: config.server_id,
            from: config.from.clone(),
            to: config.to.clone(),
            conflicts: config.conflicts.clone(),
            collations: places.collations.clone(),
            keeps: config.load.existing == Existing::Keep,
            two_way,
            progress: progress.clone(),
            gate: places.gate.clone(),
            stop,
        });
        let mut hands = Vec::with_capacity(stamps.len());
        for stamp in stamps {
            let from = table::connect(&config.source_servers).await?;
            let mut to = target::connect(&config.targets).await?;
            target::prepare(&mut to).await?;
            // Rows that are met are read as they are.
            let as_they_are =
                to.execute("SET SESSION character_set_results = NULL, character_set_client = binary").await;
            as_they_are.map_err(Error::target("preparing its session"))?;
            hands.push(Hand::new(from, to, stamp, shared.clone()));
        }
        let (limits, progress) = (config.load.clone(), progress.clone());
        Ok((Copy { source, tables, hands, indexer, wanted, limits, settling, progress }, weaver))
    }
}

/// Writes notes down in a transaction of their own, stamped like the copy's.
async fn note(
    connection: &mut Connection,
    stamp: &mut Stamp,
    applied: &GtidSet,
    notes: &[String],
) -> Result<(), Error> {
    let failed = Error::target("noting how far the copy is");
    let fence = stamp.statement(applied, &Mark::default());
    let begin = ["BEGIN", fence.as_str()].into_iter();
    for statement in begin.chain(notes.iter().map(String::as_str)).chain(["COMMIT"]) {
        connection.execute(statement).await.map_err(&failed)?;
    }
    stamp.committed();
    Ok(())
}

/// Is the table there, and may rows be put into it?
async fn check_target(
    connection: &mut Connection,
    table: &SourceTable,
    existing: Existing,
) -> Result<(), Error> {
    let (database, name) = (&table.map.database, &table.map.table);
    let query = format!("SELECT 1 FROM {} LIMIT 1", sql::table(database, name));
    let rows = match connection.query_rows(query).await {
        Ok(rows) => rows,
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => {
            return Err(Error::Copy {
                table: table.name(),
                what: format!("the target has no table {database}.{name}"),
                remedy: "create it there, or let the link do it with initial = \"structure+data\"".into(),
            });
        }
        Err(error) => return Err(Error::target("looking into a table")(error)),
    };
    if rows.rows.is_empty() || existing == Existing::Keep {
        return Ok(());
    }
    Err(Error::Copy {
        table: table.name(),
        what: format!("{database}.{name} in the target holds rows already, and existing = \"error\""),
        remedy: "empty it, or set existing = \"keep\": rows of the same key then go by on_conflict".into(),
    })
}

/// The pieces of a table that are copied.
async fn resume(
    connection: &mut Connection,
    table: &Arc<SourceTable>,
    state: &TableState,
    passed_over: PassedOver,
) -> Result<Copied, Error> {
    if let Some(before) = state.key.as_ref().filter(|before| !state.done && **before != table.key_text()) {
        return Err(Error::Copy {
            table: table.name(),
            what: format!(
                "its key was altered while it was copied, from ({before}) to ({}): its chunks are cut by the one before",
                table.key_text()
            ),
            remedy: "drop or empty it in the target, then begin anew with twinlog link reset".into(),
        });
    }
    let shape = table.key.as_ref().map(|key| key.shape.clone());
    let mut ranges = Ranges::new(shape);
    if state.done {
        ranges.add(None, None, Part::Done);
    }
    for chunk in state.chunks.iter().filter(|_| !state.done) {
        let after = sort_key(connection, table, chunk.range.after.as_ref()).await?;
        let upto = sort_key(connection, table, chunk.range.upto.as_ref()).await?;
        ranges.add(after, upto, Part::Done);
    }
    let (rows, bytes) = (state.rows, state.bytes);
    let (source, done) = (table.clone(), state.done);
    Ok(Copied { source, ranges, done, rows, bytes, passed_over })
}

/// A range's end, turned and weighed.
pub(crate) async fn sort_key(
    connection: &mut Connection,
    table: &SourceTable,
    value: Option<&KeyValue>,
) -> Result<Option<SortKey>, Error> {
    let (Some(key), Some(KeyValue(values))) = (&table.key, value) else { return Ok(None) };
    let not_a_key = || Error::Copy {
        table: table.name(),
        what: "the end of a chunk is no value of its key".into(),
        remedy: "was the key altered while the table was copied? Begin anew with twinlog link reset".into(),
    };
    let KeyShape { parts } = &key.shape;
    let mut turned = SortKey::with_capacity(parts.len());
    for (part, text) in parts.iter().zip(values) {
        let mut room = Vec::new();
        let value = value::parse(&part.column, text, &mut room);
        turned.push(value.and_then(|value| part.turn(&value)).ok_or_else(not_a_key)?);
    }
    if turned.len() != parts.len() {
        return Err(not_a_key());
    }
    let mut one = [turned];
    if key.shape.has_texts() {
        key.shape.weigh(connection, &mut one).await?;
    }
    let [turned] = one;
    Ok(Some(turned))
}

/// Walks the tables, then settles what is in doubt.
async fn walk_all(
    source: Connection,
    tables: Vec<(Arc<SourceTable>, TableState)>,
    limits: &super::config::Load,
    throttle: Throttle,
    wanted: mpsc::Sender<walk::Wanted>,
    settling: Option<Settling>,
) -> Result<(), Error> {
    walk::walk(source, tables, limits, throttle, &wanted).await?;
    match settling {
        Some(settling) => settling.run(&wanted).await,
        None => Ok(()),
    }
}

fn as_status(copied: &Copied) -> TableLoad {
    TableLoad {
        table: copied.source.name(),
        state: if copied.done { "done" } else { "waiting" }.into(),
        rows_done: copied.rows,
        rows_estimated: copied.source.rows.max(copied.rows),
        bytes_done: copied.bytes,
        bytes_estimated: copied.source.bytes.max(copied.bytes),
        ..TableLoad::default()
    }
}

impl Copy {
    /// Copies until all is written, then waits for `stop`, like the link's other tasks. On `stop` each hand finishes the
    /// chunk that it is writing.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { source, tables, hands, indexer, wanted, limits, settling, progress } = self;
        let mut tasks = JoinSet::new();
        let throttle = Throttle::new(limits.clone(), progress);
        let walking = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = walking.cancelled() => Ok(()),
                walked = Box::pin(walk_all(source, tables, &limits, throttle, wanted, settling)) => walked,
            }
        });
        for hand in hands {
            tasks.spawn(hand.run(stop.clone()));
        }
        if let Some(indexer) = indexer {
            tasks.spawn(indexer.run(stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            // An error ends the others too: they are dropped with the set.
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        }
        stop.cancelled().await;
        Ok(())
    }
}
