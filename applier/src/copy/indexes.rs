//! Indexes that wait until their table's rows are copied (`structure/behind.rs`): one session makes them, one table after
//! the other, while further tables are copied and the stream goes on.
//!
//! A statement of the stream may name an index, or need one. Before it is run, those of the tables that it names are made,
//! whatever of their rows is there.

use std::collections::{HashMap, HashSet};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::Connection;

use super::run::Places;
use crate::life::gate::Gate;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::progress::Progress;
use crate::structure::{self, Behind};
use crate::{Error, target};

/// A table of the target whose indexes are to be made now.
struct Wanted {
    table: Name,
    made: Option<oneshot::Sender<()>>,
}

/// The tables whose indexes wait, with the one who copies.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// By their names in the target, with those in the source.
    tables: HashMap<Name, Name>,
    wanted: mpsc::UnboundedSender<Wanted>,
    /// Unbounded, as the other way is: who waits here for one table can't take what is told of another.
    made: mpsc::UnboundedReceiver<Name>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A table of the target is copied: its indexes are made next.
    pub(super) fn copied(&self, table: &Name) {
        if self.tables.contains_key(table) {
            self.want(table.clone(), None);
        }
    }

    /// The next table whose indexes are made; never, when nobody makes any. Cancellation safe.
    pub(super) async fn next_made(&mut self) -> Name {
        match self.made.recv().await {
            Some(table) => table,
            None => std::future::pending().await,
        }
    }

    /// They are made.
    pub(super) fn made(&mut self, table: &Name) {
        self.tables.remove(table);
    }

    /// Has those made that belong to tables among these names, folded. A database may be dropped before they are.
    pub(super) async fn make_of(&self, names: &HashSet<String>, progress: &Progress) -> Result<(), Error> {
        let is_named = |(_, table): &Name| names.contains(&table.to_lowercase());
        let named = self.tables.iter().filter(|(there, here)| is_named(there) || is_named(here));
        for (table, _) in named {
            let (made, wait) = oneshot::channel();
            self.want(table.clone(), Some(made));
            progress.waits_for(Some(format!(
                "the indexes of {}.{} are made before a statement that names it",
                table.0, table.1
            )));
            // Who makes them has ended; it tells why.
            wait.await.map_err(|_| Error::Stopped)?;
            progress.waits_for(None);
        }
        Ok(())
    }

    fn want(&self, table: Name, made: Option<oneshot::Sender<()>>) {
        // Who makes them has ended; it tells why.
        _ = self.wanted.send(Wanted { table, made });
    }
}

/// Makes them, with a session of its own in the target.
pub(super) struct Indexer {
    connection: Connection,
    schema: String,
    link: LinkKey,
    waiting: Vec<Behind>,
    wanted: mpsc::UnboundedReceiver<Wanted>,
    tell: mpsc::UnboundedSender<Name>,
    gate: Gate,
    progress: Progress,
}

/// The two ends; nobody makes any where none wait. `name_here`: of a table of the target, that in the source.
pub(super) async fn open(
    places: &Places<'_>,
    waiting: Vec<Behind>,
    name_here: impl Fn(&Name) -> Option<Name>,
) -> Result<(Waiting, Option<Indexer>), Error> {
    let (send, receive) = mpsc::unbounded_channel();
    let (tell, made) = mpsc::unbounded_channel();
    let name = |behind: &Behind| {
        let here = name_here(&behind.table).unwrap_or_else(|| behind.table.clone());
        (behind.table.clone(), here)
    };
    let ours = Waiting { tables: waiting.iter().map(name).collect(), wanted: send, made };
    if waiting.is_empty() {
        return Ok((ours, None));
    }
    let mut connection = target::connect(&places.config.targets).await?;
    target::prepare(&mut connection).await?;
    let indexer = Indexer {
        connection,
        schema: places.schema.into(),
        link: places.link.clone(),
        waiting,
        wanted: receive,
        tell,
        gate: places.gate.clone(),
        progress: places.progress.clone(),
    };
    Ok((ours, Some(indexer)))
}

/// Makes all that wait where nothing is copied any more.
pub(super) async fn make_all(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    waiting: &[Behind],
) -> Result<(), Error> {
    for behind in waiting {
        structure::make_behind(connection, schema, link, behind).await?;
    }
    Ok(())
}

impl Indexer {
    /// Makes what is wanted, until nobody wants anything or `stop`. A statement that runs then the server finishes.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                next = self.wanted.recv() => next,
            };
            let Some(Wanted { table, made }) = next else { return Ok(()) };
            if !self.gate.pass(&stop).await {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                made = Box::pin(self.make(&table)) => made?,
            }
            // The planner has ended otherwise; it tells why.
            _ = self.tell.send(table);
            if let Some(made) = made {
                _ = made.send(());
            }
        }
    }

    async fn make(&mut self, table: &Name) -> Result<(), Error> {
        while let Some(at) = self.waiting.iter().position(|behind| behind.table == *table) {
            self.progress.waits_for(Some(format!("making the indexes of {}.{}", table.0, table.1)));
            structure::make_behind(&mut self.connection, &self.schema, &self.link, &self.waiting[at]).await?;
            self.progress.waits_for(None);
            self.waiting.remove(at);
        }
        Ok(())
    }
}
