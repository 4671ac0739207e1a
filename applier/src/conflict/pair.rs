//! Does the other link of a pair copy rows, or settle keys in doubt? Nothing of what it copies is called drift meanwhile:
//! what does not meet the row it expects stays out, and the key is settled when the copy is complete.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use wire::ConnectOptions;

use crate::config::Config;
use crate::copy::LoadTable;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::{Error, target};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The other link of a pair.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Where it writes.
    servers: Vec<ConnectOptions>,
    load: LoadTable,
    /// It may copy.
    copies: bool,
    /// The tables that it copied when it was last looked at, by their names at its source, which is here.
    tables: Option<HashSet<Name>>,
    looked: Option<Instant>,
}

impl Pair {
    /// `None` where there is no way back.
    pub(crate) fn new(config: &Config, link: &LinkKey) -> Option<Self> {
        let back = config.way_back.as_ref()?;
        Some(Self {
            servers: back.servers.clone(),
            load: LoadTable::new(&config.meta_schema, &link.back()),
            copies: back.copies,
            tables: None,
            looked: None,
        })
    }

    /// Does it copy now? Asked of its target now and then; one that can't be reached is taken to go on.
    pub(crate) async fn is_copying(&mut self) -> bool {
        self.look().await;
        self.copies && self.tables.as_ref().is_none_or(|tables| !tables.is_empty())
    }

    /// Does it copy this table?
    pub(crate) async fn copies(&mut self, table: &Name) -> bool {
        self.look().await;
        self.copies && self.tables.as_ref().is_none_or(|tables| tables.contains(table))
    }

    async fn look(&mut self) {
        if !self.copies || self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        if let Ok(tables) = self.ask().await {
            self.tables = tables;
        }
    }

    /// `None`: it is to begin yet, with whatever there is.
    async fn ask(&self) -> Result<Option<HashSet<Name>>, Error> {
        let mut session = target::connect(&self.servers).await?;
        let tables = self.load.copies(&mut session).await?;
        session.close().await;
        Ok(tables.map(|tables| tables.into_iter().collect()))
    }
}
