//! One writer: transactions on rows of its own, and exact knowledge of which of them were committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Params};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::known::Known;
use crate::schema::{accounts_of, counters_of};

/// Between two attempts to reach a server that is away.
const RECONNECT: Duration = Duration::from_millis(100);

/// Server errors after which the transaction is tried again as another one: lock wait, deadlock, read only, shutdown.
const TRY_AGAIN: [u16; 5] = [1205, 1213, 1290, 1053, 1836];

/// Notes kept per writer; beyond that one is deleted for each new one.
const NOTES: usize = 200;

/// What a writer is given.
pub(crate) struct WriterOptions {
    /// Unique among all writers.
    pub(crate) writer: i32,
    pub(crate) server: OptsBuilder,
    /// `auto_increment_offset`: 1 or 2, of an increment of 2.
    pub(crate) offset: u32,
    pub(crate) seed: u64,
    pub(crate) pause: Duration,
    pub(crate) written: Arc<AtomicU64>,
    pub(crate) stop: CancellationToken,
}

/// A transaction that is not committed yet, and what it makes known once it is.
struct Pending {
    token: i64,
    bumped: Vec<i32>,
    note: Option<NoteChange>,
    transfers: u64,
}

enum NoteChange {
    Written(u64, String),
    Deleted(u64),
}

pub(crate) struct Writer {
    options: WriterOptions,
    random: StdRng,
    next_token: i64,
    known: Known,
}

impl Writer {
    pub(crate) fn new(options: WriterOptions) -> Self {
        let writer = options.writer;
        let counters = counters_of(writer).map(|id| (id, 0)).collect();
        let known = Known { writer, counters, ..Known::default() };
        let random = StdRng::seed_from_u64(options.seed ^ u64::from(writer.unsigned_abs()));
        Self { options, random, next_token: i64::from(writer) << 32, known }
    }

    /// Writes until it is stopped; gives what it has committed.
    pub(crate) async fn run(mut self) -> Known {
        let mut session = self.connect().await;
        while !self.options.stop.is_cancelled() {
            if let Err(error) = self.one_transaction(&mut session).await {
                session = self.after(error, session).await;
            }
            tokio::time::sleep(self.options.pause).await;
        }
        self.known
    }

    async fn one_transaction(&mut self, session: &mut Conn) -> Result<(), Error> {
        session.query_drop("BEGIN").await?;
        let pending = self.fill(session).await?;
        let outcome = session.query_drop("COMMIT").await;
        let committed = match outcome {
            Ok(()) => true,
            // The server may or may not have committed before it went away: the row tells.
            Err(_) => {
                *session = self.connect().await;
                self.is_there(session, pending.token).await
            }
        };
        if committed {
            self.learn(pending);
        }
        Ok(())
    }

    /// The statements of one transaction; the token's row always comes with them.
    async fn fill(&mut self, session: &mut Conn) -> Result<Pending, Error> {
        self.next_token += 1;
        let mut pending = Pending { token: self.next_token, bumped: Vec::new(), note: None, transfers: 0 };
        let token = pending.token;
        match self.random.random_range(0..10) {
            0..5 => pending.bumped = self.bump(session, token).await?,
            5..7 => pending.transfers = self.transfer(session).await?,
            _ => pending.note = Some(self.note(session).await?),
        }
        session.exec_drop("INSERT INTO shop.tape VALUES (?, ?)", (self.options.writer, token)).await?;
        Ok(pending)
    }

    async fn bump(&mut self, session: &mut Conn, token: i64) -> Result<Vec<i32>, Error> {
        let count = self.random.random_range(1..4);
        let ids = counters_of(self.options.writer).choose_multiple(&mut self.random, count);
        for &id in &ids {
            session
                .exec_drop("UPDATE shop.counter SET n = n + 1, token = ? WHERE id = ?", (token, id))
                .await?;
        }
        Ok(ids)
    }

    async fn transfer(&mut self, session: &mut Conn) -> Result<u64, Error> {
        let pair = accounts_of(self.options.writer).choose_multiple(&mut self.random, 2);
        let (payer, payee) = (pair[0], pair[1]);
        let amount =
            format!("{}.{:04}", self.random.random_range(0..20), self.random.random_range(0..10_000));
        let add = "UPDATE shop.account SET balance = balance + ? WHERE id = ?";
        session.exec_drop(add, (format!("-{amount}"), payer)).await?;
        session.exec_drop(add, (&amount, payee)).await?;
        let insert = "INSERT INTO shop.transfer (payer, payee, amount) VALUES (?, ?, ?)";
        session.exec_drop(insert, (payer, payee, &amount)).await?;
        Ok(1)
    }

    async fn note(&mut self, session: &mut Conn) -> Result<NoteChange, Error> {
        let any = self.known.notes.keys().choose(&mut self.random).copied();
        match any {
            Some(id) if self.known.notes.len() >= NOTES => {
                session.exec_drop("DELETE FROM shop.note WHERE id = ?", (id,)).await?;
                Ok(NoteChange::Deleted(id))
            }
            Some(id) if self.random.random_bool(0.4) => {
                let body = self.body();
                let update = "UPDATE shop.note SET body = ?, doc = JSON_SET(doc, '$.n', ?) WHERE id = ?";
                let n: u16 = self.random.random();
                session.exec_drop(update, (&body, n, id)).await?;
                Ok(NoteChange::Written(id, body))
            }
            _ => {
                let body = self.body();
                let seen: f64 = self.random.random();
                let insert = "INSERT INTO shop.note (writer, body, seen, doc) VALUES (?, ?, ?, ?)";
                let doc = format!("{{\"n\": 0, \"text\": \"{body}\"}}");
                session.exec_drop(insert, Params::from((self.options.writer, &body, seen, doc))).await?;
                let id = session.last_insert_id().expect("an auto increment insert has an id");
                Ok(NoteChange::Written(id, body))
            }
        }
    }

    /// Text of one to a few hundred characters, of one to four bytes each.
    fn body(&mut self) -> String {
        const LETTERS: [char; 8] = ['a', 'Z', '7', ' ', 'é', 'ß', '漢', '🐬'];
        let length = self.random.random_range(1..200);
        (0..length).map(|_| LETTERS[self.random.random_range(0..LETTERS.len())]).collect()
    }

    fn learn(&mut self, pending: Pending) {
        for id in pending.bumped {
            *self.known.counters.entry(id).or_default() += 1;
        }
        match pending.note {
            Some(NoteChange::Written(id, body)) => drop(self.known.notes.insert(id, body)),
            Some(NoteChange::Deleted(id)) => drop(self.known.notes.remove(&id)),
            None => {}
        }
        self.known.transfers += pending.transfers;
        self.known.tokens.insert(pending.token);
        self.options.written.fetch_add(1, Ordering::Relaxed);
    }

    /// After an error before COMMIT nothing was committed: roll back, in a new session when this one is gone.
    async fn after(&self, error: Error, mut session: Conn) -> Conn {
        if let Error::Server(e) = &error {
            assert!(TRY_AGAIN.contains(&e.code), "writer {}: {e}", self.options.writer);
            if session.query_drop("ROLLBACK").await.is_ok() {
                return session;
            }
        }
        self.connect().await
    }

    async fn is_there(&self, session: &mut Conn, token: i64) -> bool {
        loop {
            let count = session.exec_first("SELECT COUNT(*) FROM shop.tape WHERE token = ?", (token,)).await;
            match count {
                Ok(count) => return count.unwrap_or(0u64) > 0,
                Err(_) => *session = self.connect().await,
            }
        }
    }

    /// A session; waits as long as the server is away.
    async fn connect(&self) -> Conn {
        let offset = self.options.offset;
        let setting = format!("SET auto_increment_increment = 2, auto_increment_offset = {offset}");
        loop {
            if let Ok(mut session) = Conn::new(self.options.server.clone()).await
                && session.query_drop(&setting).await.is_ok()
            {
                return session;
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }
}
