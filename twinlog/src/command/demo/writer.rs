//! The application: customers come, orders are placed, paid, shipped and cancelled, in each region on keys of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::shop::PRODUCTS;
use super::stage::{self, Stage};
use crate::failure::Failure;

/// Connections that write in each region.
const PER_REGION: u32 = 2;

/// Orders that a writer remembers, to ship or cancel them later.
const REMEMBERED: usize = 500;

/// MySQL's "lock wait timeout" and "deadlock": the transaction is rolled back and the next one tried.
const GIVEN_UP: [u16; 2] = [1205, 1213];

/// What was committed in one region.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) transactions: AtomicU64,
    pub(super) rows: AtomicU64,
}

/// The writers of both regions.
pub(super) struct Writers {
    tasks: JoinSet<Result<(), Failure>>,
    stop: CancellationToken,
    written: Vec<(&'static str, Arc<Written>)>,
}

impl Writers {
    /// Starts them; together they aim at `rate` transactions a second in each region.
    pub(super) async fn start(stage: &Stage, rate: u32) -> Result<Self, Failure> {
        let mut writers = Self { tasks: JoinSet::new(), stop: CancellationToken::new(), written: Vec::new() };
        let period = Duration::from_secs(1) * PER_REGION / rate;
        for (region, server) in stage.regions() {
            let written = Arc::new(Written::default());
            for number in 0..PER_REGION {
                let writer = Writer {
                    conn: stage::connect(server).await?,
                    region,
                    number,
                    random: StdRng::from_os_rng(),
                    customers: Vec::new(),
                    orders: Vec::new(),
                    made: 0,
                };
                let (stop, written) = (writers.stop.clone(), written.clone());
                writers.tasks.spawn(writer.run(period, stop, written));
            }
            writers.written.push((region, written));
        }
        Ok(writers)
    }

    /// What each region's writers have committed so far: region, transactions, rows.
    pub(super) fn written(&self) -> Vec<(&'static str, u64, u64)> {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        self.written.iter().map(|(region, w)| (*region, load(&w.transactions), load(&w.rows))).collect()
    }

    /// Waits for a writer that fails; for ever when none does. Cancellation safe.
    pub(super) async fn first_failure(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Err(error)) => Failure::from_error("a writer ended badly", &error),
            // A writer ends well only when it is told to.
            Some(Ok(Ok(()))) | None => std::future::pending().await,
        }
    }

    /// Stops them after the transaction in hand.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|e| Failure::from_error("a writer ended badly", &e))??;
        }
        Ok(())
    }
}

struct Writer {
    conn: Conn,
    region: &'static str,
    number: u32,
    random: StdRng,
    customers: Vec<u64>,
    orders: Vec<u64>,
    /// Customers made so far; makes their addresses unique.
    made: u64,
}

impl Writer {
    async fn run(
        mut self,
        period: Duration,
        stop: CancellationToken,
        written: Arc<Written>,
    ) -> Result<(), Failure> {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            match self.transaction().await {
                Ok(rows) => {
                    written.transactions.fetch_add(1, Ordering::Relaxed);
                    written.rows.fetch_add(rows, Ordering::Relaxed);
                }
                Err(Error::Server(e)) if GIVEN_UP.contains(&e.code) => {
                    self.conn.query_drop("ROLLBACK").await.map_err(|e| self.failed(&e))?;
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let region = self.region;
        self.conn.disconnect().await.map_err(|e| failed(region, &e))
    }

    fn failed(&self, error: &Error) -> Failure {
        failed(self.region, error)
    }

    /// One transaction of the day's business; gives the rows it changed.
    async fn transaction(&mut self) -> Result<u64, Error> {
        let choice = self.random.random_range(0..100);
        match choice {
            _ if self.customers.is_empty() => self.new_customer().await,
            0..15 => self.new_customer().await,
            15..70 => self.place_order().await,
            70..90 if !self.orders.is_empty() => self.advance_order().await,
            90.. if !self.orders.is_empty() => self.cancel_order().await,
            _ => self.place_order().await,
        }
    }

    async fn new_customer(&mut self) -> Result<u64, Error> {
        let (region, number, made) = (self.region, self.number, self.made);
        let visits = self.random.random_range(0..1000);
        self.conn
            .query_drop(format!(
                "INSERT INTO shop.customer (region, name, email, profile) VALUES ('{region}', 'Zoë №{made}', \
                 '{region}{number}.{made}@example.com', JSON_OBJECT('visits', {visits}, 'newsletter', TRUE))"
            ))
            .await?;
        self.made += 1;
        self.customers.extend(self.conn.last_insert_id());
        Ok(1)
    }

    async fn place_order(&mut self) -> Result<u64, Error> {
        let customer = self.customers[self.random.random_range(0..self.customers.len())];
        // In order, so that two writers never wait for each other's rows.
        let mut products: Vec<u32> = (0..4).map(|_| self.random.random_range(1..=PRODUCTS)).collect();
        products.sort_unstable();
        products.dedup();
        let quantity = self.random.random_range(1..5);
        let total: u32 = products.iter().map(|p| p * quantity).sum();
        self.conn.query_drop("BEGIN").await?;
        self.conn
            .query_drop(format!(
                "INSERT INTO shop.orders (customer_id, total) VALUES ({customer}, {total}.95)"
            ))
            .await?;
        let order = self.conn.last_insert_id().ok_or_else(|| Error::Other("an order got no id".into()))?;
        let lines: Vec<String> = products
            .iter()
            .zip(1..)
            .map(|(p, line)| format!("({order}, {line}, {p}, {quantity}, {p}.95)"))
            .collect();
        self.conn.query_drop(format!("INSERT INTO shop.order_line VALUES {}", lines.join(", "))).await?;
        let names: Vec<String> = products.iter().map(ToString::to_string).collect();
        self.conn
            .query_drop(format!(
                "UPDATE shop.stock SET quantity = quantity - {quantity} WHERE warehouse = '{}' AND product_id IN ({})",
                self.region,
                names.join(", ")
            ))
            .await?;
        self.conn.query_drop("COMMIT").await?;
        if self.orders.len() < REMEMBERED {
            self.orders.push(order);
        }
        let products = u64::try_from(products.len()).unwrap_or(u64::MAX);
        Ok(1 + 2 * products)
    }

    async fn advance_order(&mut self) -> Result<u64, Error> {
        let order = self.orders[self.random.random_range(0..self.orders.len())];
        self.conn
            .query_drop(format!(
                "UPDATE shop.orders SET status = IF(status = 'new', 'paid', 'shipped'), \
                 note = CONCAT('seen ', NOW(6)) WHERE id = {order}"
            ))
            .await?;
        Ok(1)
    }

    /// The lines go with the order by the foreign key.
    async fn cancel_order(&mut self) -> Result<u64, Error> {
        let order = self.orders.swap_remove(self.random.random_range(0..self.orders.len()));
        let lines: Option<u64> = self
            .conn
            .query_first(format!("SELECT COUNT(*) FROM shop.order_line WHERE order_id = {order}"))
            .await?;
        self.conn.query_drop(format!("DELETE FROM shop.orders WHERE id = {order}")).await?;
        Ok(1 + lines.unwrap_or(0))
    }
}

fn failed(region: &str, error: &Error) -> Failure {
    Failure::from_error(&format!("a writer in region {region} failed"), error)
}
