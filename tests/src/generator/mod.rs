//! A random workload: schemas, types, rows, transactions and definitions, from a seed.
//!
//! ```text
//! model.rs    what the tables are, read from the server after each definition
//! types.rs    column types, and values for each
//! rows.rs     statements that change rows
//! define.rs   statements that define
//! session.rs  transactions, savepoints, XA, settings: what one session does
//! ```
//! A statement that the server refuses is no failure: what matters is that all who follow end equal to it.

mod define;
mod model;
mod rows;
mod session;
mod types;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Region;
use model::Model;
use session::Session;

/// Sessions that write; the first one defines too.
const SESSIONS: u64 = 3;

/// How much was done.
#[derive(Debug, Default)]
pub struct Done {
    accepted: AtomicU64,
    refused: AtomicU64,
    defined: AtomicU64,
    tables: AtomicU64,
}

impl Done {
    /// Statements that the server took.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Definitions among them.
    pub fn defined(&self) -> u64 {
        self.defined.load(Ordering::Relaxed)
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} statements ({} of them definitions, {} tables made), {} more refused by the server",
            self.accepted(),
            self.defined(),
            self.tables.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed)
        )
    }
}

/// A random workload against one server.
pub struct Generator {
    seed: u64,
    round: u64,
    model: Arc<Mutex<Model>>,
    done: Arc<Done>,
}

impl Generator {
    /// Makes the first tables in these schemas, which must be there.
    pub async fn new(region: &Region, seed: u64, schemas: &[String]) -> Self {
        let model = Arc::new(Mutex::new(Model::new(schemas)));
        let this = Self { seed, round: 0, model, done: Arc::default() };
        let mut session = this.session(region, u64::MAX).await;
        for _ in 0..8 {
            session.define_table().await;
        }
        session.leave().await;
        this
    }

    async fn session(&self, region: &Region, number: u64) -> Session {
        let mut connection = region.connect().await;
        for setting in ["SET NAMES utf8mb4", "SET innodb_lock_wait_timeout = 1, lock_wait_timeout = 2"] {
            connection.query_drop(setting).await.expect("a session's settings");
        }
        let seed = self.seed ^ (self.round << 32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Session::new(connection, seed, self.model.clone(), self.done.clone())
    }

    /// Writes for so long; every session ends between transactions.
    pub async fn write_for(&mut self, region: &Region, time: std::time::Duration) {
        self.round += 1;
        let stop = CancellationToken::new();
        let mut sessions = JoinSet::new();
        for number in 0..SESSIONS {
            let (session, stop) = (self.session(region, number).await, stop.clone());
            sessions.spawn(session.run(number == 0, stop));
        }
        tokio::time::sleep(time).await;
        stop.cancel();
        while let Some(ended) = sessions.join_next().await {
            ended.unwrap_or_else(|e| panic!("a session of the generator: {e}"));
        }
    }

    /// What was done so far.
    pub fn done(&self) -> &Done {
        &self.done
    }
}
