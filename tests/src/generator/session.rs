//! What one session does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::model::Model;
use super::{Done, define, rows};

/// Settings that must not matter to those who follow.
const SETTINGS: &[&str] = &[
    "SET sql_mode = ''",
    "SET sql_mode = DEFAULT",
    "SET sql_mode = 'PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO'",
    "SET time_zone = '+05:30'",
    "SET time_zone = '-11:00'",
    "SET binlog_rows_query_log_events = ON",
    "SET binlog_rows_query_log_events = OFF",
    "SET binlog_transaction_compression = ON",
    "SET binlog_transaction_compression = OFF",
    "SET binlog_row_value_options = PARTIAL_JSON",
    "SET binlog_row_value_options = ''",
    "SET binlog_row_image = MINIMAL",
    "SET binlog_row_image = NOBLOB",
    "SET binlog_row_image = FULL",
    "SET foreign_key_checks = 0",
    "SET foreign_key_checks = 1",
    "SET transaction_isolation = 'READ-COMMITTED'",
    "SET transaction_isolation = 'REPEATABLE-READ'",
    "SET character_set_connection = latin1",
    "SET NAMES utf8mb4",
    "SET auto_increment_increment = 3",
    "SET lc_time_names = 'de_DE'",
];

pub(super) struct Session {
    connection: Conn,
    rng: StdRng,
    model: Arc<Mutex<Model>>,
    done: Arc<Done>,
}

impl Session {
    pub(super) fn new(connection: Conn, seed: u64, model: Arc<Mutex<Model>>, done: Arc<Done>) -> Self {
        Self { connection, rng: StdRng::seed_from_u64(seed), model, done }
    }

    /// Runs until `stop`, and ends between transactions.
    pub(super) async fn run(mut self, defines: bool, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.rng.random_range(0..40) {
                0..=3 if defines => self.define().await,
                0..=1 => {
                    let setting = *SETTINGS.choose(&mut self.rng).expect("there are settings");
                    self.statement(setting).await;
                }
                2..=20 => {
                    self.change().await;
                }
                21..=23 => self.xa().await,
                _ => self.transaction().await,
            }
        }
        self.leave().await;
    }

    pub(super) async fn leave(self) {
        // A lost farewell changes nothing.
        let _ = self.connection.disconnect().await;
    }

    async fn statement(&mut self, sql: &str) -> bool {
        let taken = match self.connection.query_drop(sql).await {
            Ok(()) => true,
            Err(mysql_async::Error::Server(_)) => false,
            Err(error) => panic!("{error}: {sql}"),
        };
        let count = if taken { &self.done.accepted } else { &self.done.refused };
        count.fetch_add(1, Ordering::Relaxed);
        taken
    }

    async fn change(&mut self) -> bool {
        let (table, other) = {
            let model = self.model.lock().await;
            (model.table(&mut self.rng), model.table(&mut self.rng))
        };
        let Some((table, other)) = table.zip(other) else { return false };
        let sql = rows::change(&mut self.rng, &table, &other);
        self.statement(&sql).await
    }

    async fn changes(&mut self) {
        for _ in 0..self.rng.random_range(0..6) {
            self.change().await;
        }
    }

    async fn transaction(&mut self) {
        self.statement("BEGIN").await;
        self.changes().await;
        if self.rng.random_bool(0.3) {
            self.statement("SAVEPOINT one").await;
            self.changes().await;
            if self.rng.random_bool(0.5) {
                self.statement("ROLLBACK TO one").await;
                self.changes().await;
            }
        }
        let end = if self.rng.random_bool(0.85) { "COMMIT" } else { "ROLLBACK" };
        self.statement(end).await;
    }

    async fn xa(&mut self) {
        let xid = format!("'{}'", self.rng.random::<u64>());
        if !self.statement(&format!("XA START {xid}")).await {
            return;
        }
        self.changes().await;
        self.statement(&format!("XA END {xid}")).await;
        if self.rng.random_bool(0.3) {
            if !self.statement(&format!("XA COMMIT {xid} ONE PHASE")).await {
                self.statement(&format!("XA ROLLBACK {xid}")).await;
            }
            return;
        }
        self.statement(&format!("XA PREPARE {xid}")).await;
        let end = if self.rng.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" };
        self.statement(&format!("XA {end} {xid}")).await;
    }

    pub(super) async fn define_table(&mut self) {
        let sql = define::table(&mut self.rng, &mut *self.model.lock().await);
        self.definition(&sql).await;
    }

    async fn define(&mut self) {
        let sql = define::alter(&mut self.rng, &mut *self.model.lock().await);
        self.definition(&sql).await;
    }

    async fn definition(&mut self, sql: &str) {
        if !self.statement(sql).await {
            return;
        }
        self.done.defined.fetch_add(1, Ordering::Relaxed);
        if sql.starts_with("CREATE TABLE") {
            self.done.tables.fetch_add(1, Ordering::Relaxed);
        }
        self.model.lock().await.read(&mut self.connection).await;
    }
}
