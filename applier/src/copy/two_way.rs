//! What a copy needs of a pair whose other link goes the other way.

use std::sync::Arc;
use std::time::Duration;

use binlog::GtidSet;
use tokio::sync::{mpsc, watch};
use wire::{ConnectOptions, Connection};

use super::chunks::Told;
use super::doubt::{Doubts, Named};
use super::load::{KeyRange, Load};
use super::run::Places;
use super::walk::{Keys, Wanted};
use crate::collations::{Collations, Folding};
use crate::config::Config;
use crate::conflict::key::TableKeys;
use crate::conflict::shared::SharedWindow;
use crate::conflict::weights::Weights;
use crate::executed::executed;
use crate::origin::{LinkKey, Owners};
use crate::progress::Progress;
use crate::verify::key::Range;
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

/// A number for a row of `load` that tells keys in doubt: nobody has another.
pub(crate) fn doubt_number() -> u64 {
    rand::random_range(DOUBTS..SETTLED)
}

/// What the hands of a copy hold against the target's own writes.
#[derive(Clone, Debug)]
pub(crate) struct TwoWay {
    pub(crate) doubts: Doubts,
    pub(crate) window: SharedWindow,
    pub(crate) owners: Owners,
    pub(crate) collations: Arc<Collations>,
    /// How many batches of keys in doubt were read once more.
    pub(crate) finished: Arc<watch::Sender<u64>>,
}

/// Asks the source's region, where the way back writes.
pub(crate) struct WayBack<'a> {
    pub(crate) servers: &'a [ConnectOptions],
    pub(crate) schema: &'a str,
    pub(crate) link: &'a LinkKey,
}

impl<'a> WayBack<'a> {
    /// `None` where nothing comes back, or nobody looks for conflicts row by row.
    pub(crate) fn of(config: &'a Config, schema: &'a str, link: &'a LinkKey) -> Option<Self> {
        let back = config.way_back.as_ref()?;
        let watches = config.target_relay.is_some() && config.conflicts.any_by_row();
        watches.then_some(Self { servers: &back.servers, schema, link })
    }

    fn key(&self) -> LinkKey {
        self.link.back()
    }

    /// Behind what of the target's log the way back has begun; `None`: it has not.
    pub(crate) async fn begun(&self) -> Result<Option<GtidSet>, Error> {
        let mut session = target::connect(self.servers).await?;
        let begun = begun_behind(&mut session, self.schema, &self.key()).await?;
        session.close().await;
        Ok(begun)
    }

    /// The same, once it has begun. Waits until it has: what was written in the target before
    /// then, it will not bring.
    pub(crate) async fn begin(&self, progress: &Progress) -> Result<GtidSet, Error> {
        loop {
            if let Some(begun) = self.begun().await? {
                progress.waits_for(None);
                return Ok(begun);
            }
            progress.waits_for(Some(format!(
                "waiting for the link from {} to {} to begin: what is written in {} meanwhile must come back by it",
                self.link.to, self.link.from, self.link.to
            )));
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Behind what of its source's log a link into this server began; `None`: it has not.
async fn begun_behind(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
) -> Result<Option<GtidSet>, Error> {
    let query = format!(
        "SELECT born_after FROM {} WHERE link = {}",
        sql::table(schema, "link"),
        sql::text(&link.text())
    );
    let failed = Error::target("reading where a link began");
    match connection.query_rows(&query).await {
        Ok(rows) => {
            let Some(row) = rows.first() else { return Ok(None) };
            let text = row.text("born_after").map_err(&failed)?;
            let malformed = |_| failed(wire::Error::Invalid { what: format!("{text:?} is no GTID set") });
            text.parse().map(Some).map_err(malformed)
        }
        // There is no meta schema yet.
        Err(wire::Error::Server(error)) if matches!(error.code, 1146 | 1049) => Ok(None),
        Err(error) => Err(failed(error)),
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
            other: places.link.back(),
            schema: places.schema.into(),
            completed,
            tell,
            load,
            progress: places.progress.clone(),
            from: config.from.clone(),
            to: config.to.clone(),
        })
    }

    /// Whatever the other link does.
    pub(crate) fn alone(self) -> Self {
        Self { other_copies: false, ..self }
    }

    /// Waits until all is copied, and settles. Where both links copy, the one from the region whose name comes first does:
    /// the other tells it the keys that are in doubt on its side.
    pub(crate) async fn run(mut self, wanted: &mpsc::Sender<Wanted>) -> Result<(), Error> {
        if self.completed.wait_for(|complete| *complete).await.is_err() {
            // The planner has ended; it tells why.
            return Ok(());
        }
        self.bring_up().await?;
        if self.other_copies && self.from > self.to {
            let state = self.load.state(&mut self.target).await?;
            if state.as_deref() != Some("copied") {
                self.tell_doubts().await;
            }
            self.wait_for_other(&["done"]).await?;
        } else {
            if self.other_copies {
                self.wait_for_other(&["copied", "done"]).await?;
                self.learn_doubts().await?;
            }
            self.settle(wanted).await?;
        }
        self.two_way.doubts.end();
        self.progress.doubts(0);
        self.progress.waits_for(None);
        // The planner has ended; it tells why.
        _ = self.tell.send(Told::Settled { notes: self.load.end().into() }).await;
        Ok(())
    }

    /// Waits until the other link's copy is so far.
    async fn wait_for_other(&self, states: &[&str]) -> Result<(), Error> {
        loop {
            let mut session = target::connect(&self.servers).await?;
            let state = Load::new(&self.schema, &self.other).state(&mut session).await?;
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

    /// Notes the keys in doubt on this side, for the other link. From now on they are in doubt there alone: what comes is
    /// applied here, and they are read here only after this is noted.
    async fn tell_doubts(&self) {
        let mut notes = Vec::new();
        let mut number = DOUBTS;
        for (table, keys) in self.two_way.doubts.all() {
            for some in keys.chunks(KEYS_AT_ONCE) {
                number += 1;
                let values = some.iter().map(|(_, doubt)| doubt.value.clone()).collect();
                notes.push(self.load.keys(&table, number, "told", values));
            }
        }
        notes.push(self.load.link_state("copied"));
        self.two_way.doubts.end();
        // The planner has ended; it tells why.
        _ = self.tell.send(Told::Note { notes }).await;
    }

    /// Reads the keys in doubt on the other side.
    async fn learn_doubts(&mut self) -> Result<(), Error> {
        let failed = Error::source("reading which keys are in doubt there");
        let mut session = target::connect(&self.servers).await?;
        let query = format!(
            "SELECT database_name AS d, table_name AS t, key_range AS k FROM {} WHERE link = {} AND state = 'told'",
            sql::table(&self.schema, super::load::TABLE),
            sql::text(&self.other.text())
        );
        let rows = session.query_rows(query).await.map_err(&failed)?;
        let mut weights = Weights::new(self.two_way.collations.clone());
        for row in rows.iter() {
            let (database, name) = (row.text("d").map_err(&failed)?, row.text("t").map_err(&failed)?);
            // Its source is this link's target.
            let Some(table) = self.two_way.doubts.table_here(&database, &name) else { continue };
            let Some(KeyRange::Keys(values)) = KeyRange::read(&row.text("k").map_err(&failed)?) else {
                continue;
            };
            let names = (table.map.database.as_str(), table.map.table.as_str());
            let unique = unique_keys::read(&mut self.target, names.0, names.1).await?;
            let collations = &self.two_way.collations;
            let place = |column: &str| {
                let at = table.map.columns.iter().position(|c| c.name.to_lowercase() == column)?;
                let folding = |id| collations.folding(id);
                Some((at, table.map.columns[at].collation.map_or(Folding::Bytes, folding)))
            };
            let keys = TableKeys::new(names, &unique, place);
            let named = values.iter().filter_map(|value| Named::of_value(&table, &keys, value)).collect();
            let known = Named::weigh(&table, named, &mut weights, &mut self.target).await?;
            self.two_way.doubts.passed_over(table.index, known);
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
            self.bring_up().await?;
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

    /// Waits until the window has all that the target has executed, and all chunks: then it knows every key in doubt.
    async fn bring_up(&mut self) -> Result<(), Error> {
        let executed = executed(&mut self.target).await;
        let executed = executed.map_err(Error::target("asking what it has executed"))?;
        let TwoWay { owners, window, doubts, .. } = &self.two_way;
        let needed = executed.restricted_to(|uuid| owners.of(uuid) == Some(self.to.as_str()));
        while !(window.reaches(&needed, LOOK).await && doubts.have_all_arrived()) {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
