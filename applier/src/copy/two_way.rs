//! What a copy needs of a pair whose other link goes the other way.

use std::sync::Arc;
use std::time::Duration;

use binlog::GtidSet;
use binlog::row::{RowsEvent, RowsWriter};
use tokio::sync::{mpsc, watch};
use wire::{ConnectOptions, Connection};

use super::doubt::{Doubt, Doubts};
use super::load::{KeyRange, Load};
use super::run::{Places, sort_key};
use super::table::SourceTable;
use super::walk::{Keys, Wanted};
use super::weave::Told;
use crate::conflict::doubt_of;
use crate::conflict::key::TableKeys;
use crate::conflict::shared::SharedWindow;
use crate::origin::{LinkKey, Owners};
use crate::progress::Progress;
use crate::verify::key::{KeyValue, Range};
use crate::{Error, sql, target, unique_keys};

/// How long locks are held for the conflict window.
pub(crate) const WITH_LOCKS: Duration = Duration::from_millis(500);
/// Between two looks at the other link.
const LOOK: Duration = Duration::from_millis(500);
/// Keys that are settled in one transaction.
const KEYS_AT_ONCE: usize = 100;
/// Between two rounds of settling.
const PAUSE: Duration = Duration::from_millis(100);
/// Where numbers of rows that stand for keys begin: far behind those of chunks.
const DOUBTS: u64 = 1 << 62;
const SETTLED: u64 = 1 << 63;

/// What the hands of a copy hold against the target's own writes.
#[derive(Clone, Debug)]
pub(crate) struct TwoWay {
    pub(crate) doubts: Doubts,
    pub(crate) window: SharedWindow,
    pub(crate) owners: Owners,
    /// How many batches of keys in doubt were read once more.
    pub(crate) finished: Arc<watch::Sender<u64>>,
}

/// Asks the source's region, where the way back writes.
pub(crate) struct WayBack<'a> {
    pub(crate) servers: &'a [ConnectOptions],
    pub(crate) schema: &'a str,
    pub(crate) link: &'a LinkKey,
}

impl WayBack<'_> {
    fn key(&self) -> LinkKey {
        LinkKey { sync: self.link.sync.clone(), from: self.link.to.clone(), to: self.link.from.clone() }
    }

    /// Behind what of the target's log the way back has begun. Waits until it has: what was written in the target before
    /// then, it will not bring.
    pub(crate) async fn begin(&self, progress: &Progress) -> Result<GtidSet, Error> {
        let query = format!(
            "SELECT born_after FROM {} WHERE link = {}",
            sql::table(self.schema, "link"),
            sql::text(&self.key().text())
        );
        loop {
            let mut session = target::connect(self.servers).await?;
            match session.query_rows(&query).await {
                Ok(rows) => {
                    if let Some(row) = rows.first() {
                        let failed = Error::source("reading where the way back began");
                        let text = row.text("born_after").map_err(&failed)?;
                        let malformed =
                            |_| failed(wire::Error::Invalid { what: format!("{text:?} is no GTID set") });
                        return text.parse().map_err(malformed);
                    }
                }
                // There is no meta schema yet.
                Err(wire::Error::Server(error)) if matches!(error.code, 1146 | 1049) => {}
                Err(error) => return Err(Error::source("reading where the way back began")(error)),
            }
            progress.waits_for(Some(format!(
                "waiting for the link from {} to {} to begin: what is written in {} meanwhile must come back by it",
                self.link.to, self.link.from, self.link.to
            )));
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// How far the copy of a link into this server is; `None`: it has not begun.
pub(crate) async fn copy_state(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
) -> Result<Option<String>, Error> {
    let query = format!(
        "SELECT state FROM {} WHERE link = {} AND database_name = '' AND chunk = 0",
        sql::table(schema, super::load::TABLE),
        sql::text(&link.text())
    );
    match connection.query_rows(query).await {
        Ok(rows) => {
            let failed = Error::target("reading how far the copy is");
            rows.first().map(|row| row.text("state").map_err(&failed)).transpose()
        }
        Err(wire::Error::Server(error)) if matches!(error.code, 1146 | 1049) => Ok(None),
        Err(error) => Err(Error::target("reading how far the copy is")(error)),
    }
}

/// What follows when every chunk is written: keys in doubt are settled, by one link of the pair.
pub(crate) struct Settling {
    two_way: TwoWay,
    /// A session in the target.
    target: Connection,
    /// The servers of the source's region, and what the other link is called there.
    servers: Vec<ConnectOptions>,
    other: LinkKey,
    /// The other link copies too.
    other_copies: bool,
    schema: String,
    completed: watch::Receiver<bool>,
    tell: mpsc::Sender<Told>,
    load: Load,
    progress: Progress,
    from: String,
    to: String,
}

impl Settling {
    pub(crate) async fn new(
        places: &Places<'_>,
        two_way: TwoWay,
        completed: watch::Receiver<bool>,
        tell: mpsc::Sender<Told>,
        load: Load,
    ) -> Result<Self, Error> {
        let config = places.config;
        let mut target = target::connect(&config.targets).await?;
        target::prepare(&mut target).await?;
        let back = config.way_back.clone();
        Ok(Self {
            two_way,
            target,
            other_copies: back.as_ref().is_some_and(|back| back.copies),
            servers: back.map(|back| back.servers).unwrap_or_default(),
            other: LinkKey { sync: config.sync.clone(), from: config.to.clone(), to: config.from.clone() },
            schema: places.schema.into(),
            completed,
            tell,
            load,
            progress: places.progress.clone(),
            from: config.from.clone(),
            to: config.to.clone(),
        })
    }

    /// Waits until all is copied, and settles. Where both links copy, the one from the region whose name comes first does:
    /// the other tells it the keys that are in doubt on its side.
    pub(crate) async fn run(mut self, wanted: &mpsc::Sender<Wanted>) -> Result<(), Error> {
        if self.completed.wait_for(|complete| *complete).await.is_err() {
            // The planner has ended; it tells why.
            return Ok(());
        }
        bring_up(&self.two_way, &mut self.target, &self.to).await?;
        if self.other_copies && self.from > self.to {
            self.tell_doubts().await?;
            self.wait_for_other(&["done"]).await?;
        } else {
            if self.other_copies {
                self.wait_for_other(&["copied", "done"]).await?;
                self.learn_doubts().await?;
            }
            self.settle(wanted).await?;
        }
        self.progress.doubts(0);
        // The planner has ended; it tells why.
        _ = self.tell.send(Told::Settled { notes: self.load.end().into() }).await;
        Ok(())
    }

    /// Waits until the other link's copy is so far.
    async fn wait_for_other(&self, states: &[&str]) -> Result<(), Error> {
        loop {
            let mut session = target::connect(&self.servers).await?;
            let state = copy_state(&mut session, &self.schema, &self.other).await?;
            if state.as_deref().is_some_and(|state| states.contains(&state)) {
                return Ok(());
            }
            self.progress.waits_for(Some(format!(
                "all is copied; waiting for the copy of {} into {}",
                self.to, self.from
            )));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Notes the keys in doubt on this side, for the other link.
    async fn tell_doubts(&self) -> Result<(), Error> {
        let mut notes = Vec::new();
        let mut number = DOUBTS;
        for (table, keys) in self.two_way.doubts.all() {
            for some in keys.chunks(KEYS_AT_ONCE) {
                number += 1;
                let values = some.iter().map(|(_, doubt)| doubt.value.clone()).collect();
                notes.push(self.load.keys(&table, number, "doubt", values));
            }
        }
        notes.push(self.load.link_state("copied"));
        _ = self.tell.send(Told::Note { notes }).await;
        Ok(())
    }

    /// Reads the keys in doubt on the other side.
    async fn learn_doubts(&mut self) -> Result<(), Error> {
        let failed = Error::source("reading which keys are in doubt there");
        let mut session = target::connect(&self.servers).await?;
        let query = format!(
            "SELECT database_name AS d, table_name AS t, key_range AS k FROM {} WHERE link = {} AND state = 'doubt'",
            sql::table(&self.schema, super::load::TABLE),
            sql::text(&self.other.text())
        );
        let rows = session.query_rows(query).await.map_err(&failed)?;
        for row in rows.iter() {
            let (database, name) = (row.text("d").map_err(&failed)?, row.text("t").map_err(&failed)?);
            // Its source is this link's target.
            let Some(table) = self.two_way.doubts.table_here(&database, &name) else { continue };
            let Some(KeyRange::Keys(values)) = KeyRange::read(&row.text("k").map_err(&failed)?) else {
                continue;
            };
            let unique = unique_keys::read(&mut self.target, &table.map.database, &table.map.table).await?;
            let place = |column: &str| {
                let at = table.map.columns.iter().position(|c| c.name.to_lowercase() == column)?;
                let weighed =
                    table.key.as_ref()?.shape.parts.iter().any(|p| p.position == at && p.weight.is_some());
                Some((at, table.map.columns[at].collation.filter(|_| weighed)))
            };
            let keys = TableKeys::new((&table.map.database, &table.map.table), &unique, place);
            let mut doubts = Vec::with_capacity(values.len());
            for value in &values {
                let sort_key = sort_key(&mut self.target, &table, Some(value)).await?;
                doubts.extend(sort_key.zip(doubt(&table, &keys, value)));
            }
            self.two_way.doubts.passed_over(table.index, doubts);
        }
        Ok(())
    }

    /// Hands out every key in doubt until there is none.
    async fn settle(&mut self, wanted: &mpsc::Sender<Wanted>) -> Result<(), Error> {
        // Behind those of every chunk, and of every settling before this.
        let mut number = SETTLED + (u64::from(rand::random::<u32>()) << 20);
        let mut finished = self.two_way.finished.subscribe();
        let mut sent = *finished.borrow_and_update();
        loop {
            bring_up(&self.two_way, &mut self.target, &self.to).await?;
            let all = self.two_way.doubts.all();
            let left = self.two_way.doubts.len();
            self.progress.doubts(left as u64);
            if all.is_empty() {
                return Ok(());
            }
            self.progress.waits_for(Some(format!(
                "all is copied; {left} keys that both regions wrote are read once more"
            )));
            for (table, keys) in all {
                for some in keys.chunks(KEYS_AT_ONCE) {
                    number += 1;
                    sent += 1;
                    let keys = Some(Keys(some.to_vec(), Arc::default()));
                    let one = Wanted { table: table.clone(), number, range: Range::default(), keys };
                    if wanted.send(one).await.is_err() {
                        return Ok(());
                    }
                }
            }
            if finished.wait_for(|finished| *finished >= sent).await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A key as the window knows it, out of its values alone.
fn doubt(table: &SourceTable, keys: &TableKeys, value: &KeyValue) -> Option<Doubt> {
    let key = table.key.as_ref()?;
    let mut row: Vec<Option<bytes::Bytes>> = vec![None; table.map.columns.len()];
    for (part, text) in key.shape.parts.iter().zip(&value.0) {
        row[part.position] = Some(text.clone());
    }
    let mut image = Vec::new();
    super::value::put_row(&table.map.columns, &row, &mut Vec::new(), &mut image).ok()?;
    let mut writer = RowsWriter::new(&table.map, 0, 0);
    writer.push(&image);
    let events = writer.finish();
    let change = RowsEvent::parse(events.get(1)?, &table.map).ok()?.changes().next()?.ok()?;
    doubt_of(table, keys, change.after.as_ref()?).map(|(_, doubt)| doubt)
}

/// Waits until the window has all that the target has executed, and with it the keys in doubt.
async fn bring_up(two_way: &TwoWay, target: &mut Connection, to_region: &str) -> Result<(), Error> {
    let failed = Error::target("asking what it has executed");
    let rows = target.query_rows("SELECT @@GLOBAL.gtid_executed").await.map_err(&failed)?;
    let text = rows.single_text().map_err(&failed)?;
    let malformed = |_| failed(wire::Error::Invalid { what: format!("{text:?} is no GTID set") });
    let executed: GtidSet = text.parse().map_err(malformed)?;
    let needed = executed.restricted_to(|uuid| two_way.owners.of(uuid) == Some(to_region));
    while !two_way.window.reaches(&needed, LOOK).await {}
    Ok(())
}
