//! What people do to a link by its metadata in the target, whether an applier runs or not.
//!
//! Everything that changes what is applied takes the link over first, like an applier that starts: an applier that
//! runs is fenced off by the checkpoint (**promise 2**) and, when it looks why, finds what was done and begins again.

use binlog::{Gtid, GtidSet};
use wire::Connection;

use super::stakes::Stakes;
use super::{Life, Order, Wish, schedule_text, table};
use crate::checkpoint::Checkpoint;
use crate::conflict::record;
use crate::meta::Meta;
use crate::origin::LinkKey;
use crate::source::{Attach, Source};
use crate::{Config, Error, sql, target};

/// Tables of the meta schema with rows of links, beside the checkpoint: a reset empties them of the link's. Those of
/// the initial copy, of structure and of what is in step are there only where a link has one.
const OF_A_LINK: [&str; 5] = ["link", "ddl", "load", "structure", "objects"];

/// A session in a link's target, for orders.
pub struct Orders {
    connection: Connection,
    meta: Meta,
    key: LinkKey,
    config: Config,
}

/// What a skip came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The checkpoint has passed the transaction.
    Passed,
    /// It waited for a person with so many conflicts; these are answered, and the link passes it when it goes on.
    Answered(u64),
}

/// Whether a relay has forgotten a link, by the relay's address.
pub type Forgotten = Vec<(String, Result<(), Error>)>;

impl Orders {
    /// Connects to the target and makes what is missing in its meta schema.
    ///
    /// # Errors
    ///
    /// What keeps it from connecting; a target that belongs to another region.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        let mut connection = target::connect(&config.targets).await?;
        let facts = target::check(&mut connection).await?;
        target::prepare(&mut connection).await?;
        let meta = Meta::new(config);
        meta.create(&mut connection).await?;
        meta.claim(&mut connection, &config.to, facts.server_uuid).await?;
        let key = LinkKey { sync: config.sync.clone(), from: config.from.clone(), to: config.to.clone() };
        Ok(Self { connection, meta, key, config: config.clone() })
    }

    /// What is kept of the link's life.
    ///
    /// # Errors
    ///
    /// What the target says.
    pub async fn life(&mut self) -> Result<Life, Error> {
        table::read(&mut self.connection, &self.meta.schema, &self.key).await
    }

    /// Writes down what the link is to do. `Run` also overrules the schedule of the configuration.
    ///
    /// # Errors
    ///
    /// What the target says.
    pub async fn wish(&mut self, wish: Wish, order: &Order) -> Result<(), Error> {
        let overrules = match wish {
            Wish::Run => self.config.start_at.map(schedule_text),
            Wish::Paused | Wish::Stopped => None,
        };
        let write = table::wish(&self.meta.schema, &self.key, wish, order, overrules.as_deref());
        self.run("writing down what the link is to do", &[&write]).await
    }

    /// What a reset or a deletion would lose. What is still to come is asked of the source, if it answers.
    ///
    /// # Errors
    ///
    /// What the target says.
    pub async fn stakes(&mut self) -> Result<Stakes, Error> {
        let mut stakes = Stakes::read(&mut self.connection, &self.meta.schema, &self.key).await?;
        stakes.to_come = self.available().await.ok().map(|all| all.minus(&stakes.applied));
        Ok(stakes)
    }

    /// Forgets what is applied: the link's next start is a first one. Conflicts that are recorded stay; those that
    /// wait for a person wait no longer. What the link is to do stays as it is.
    ///
    /// # Errors
    ///
    /// What the target says.
    pub async fn reset(&mut self, order: &Order) -> Result<(), Error> {
        let schema = self.meta.schema.clone();
        self.cut_off().await?;
        let mut statements = self.forgetting().await?;
        statements.push(format!(
            "UPDATE {} SET resolved_at = NOW(6), resolution = 'reset' \
             WHERE link = {} AND winner = 'nobody' AND resolved_at IS NULL",
            sql::table(&schema, record::TABLE),
            sql::text(&self.key.text())
        ));
        statements.push(table::anew(&schema, &self.key, order));
        self.transact("resetting the link", &statements).await?;
        tracing::warn!(link = self.key.text(), by = order.by, reason = order.reason, "link reset");
        Ok(())
    }

    /// Removes everything that the target holds of the link, recorded conflicts included, and lets the relays forget
    /// it. One row stays, in the table `life`: it keeps a process that still has the link in its file from beginning
    /// it anew unasked.
    ///
    /// # Errors
    ///
    /// What the target says. That a relay can't be told is in the answer.
    pub async fn delete(&mut self, order: &Order) -> Result<Forgotten, Error> {
        let (schema, key) = (self.meta.schema.clone(), self.key.clone());
        self.cut_off().await?;
        let mut statements = self.forgetting().await?;
        statements.push(format!(
            "DELETE FROM {} WHERE link = {}",
            sql::table(&schema, binlog::stamp::CHECKPOINT_TABLE),
            sql::text(&key.repair_text())
        ));
        for name in [record::TABLE, table::SKIP_TABLE] {
            statements.push(format!(
                "DELETE FROM {} WHERE link = {}",
                sql::table(&schema, name),
                sql::text(&key.text())
            ));
        }
        statements.push(table::wish(&schema, &key, Wish::Stopped, order, None));
        statements.push(table::anew(&schema, &key, order));
        self.transact("deleting the link", &statements).await?;
        tracing::warn!(link = key.text(), by = order.by, reason = order.reason, "link deleted");
        Ok(self.let_relays_forget().await)
    }

    /// Gets the link past one transaction: the checkpoint holds it from now on, and it is not applied. A transaction
    /// that waits for a person with a conflict is answered instead, and passed when the link comes to it.
    ///
    /// # Errors
    ///
    /// A transaction that is applied already, that the source does not have, or a link that has not begun; what the
    /// servers say.
    pub async fn skip(&mut self, gtid: &Gtid, order: &Order) -> Result<Skipped, Error> {
        let schema = self.meta.schema.clone();
        let open = record::open(&mut self.connection, &schema, &self.key, Some(gtid)).await?;
        let note = table::note_skip(&schema, &self.key, gtid, order);
        if !open.is_empty() {
            let answer = format!(
                "UPDATE {} SET resolution = 'skip' WHERE link = {} AND gtid = '{gtid}' AND winner = 'nobody' \
                 AND resolved_at IS NULL",
                sql::table(&schema, record::TABLE),
                sql::text(&self.key.text())
            );
            let touch = table::touch(&schema, &self.key, order);
            self.transact("skipping a transaction", &[answer, note, touch]).await?;
            return Ok(Skipped::Answered(open.len() as u64));
        }
        let refuse = |why: &str, remedy: &str| Error::NotSkipped {
            gtid: gtid.clone(),
            why: why.into(),
            remedy: remedy.into(),
        };
        if !self.available().await?.contains(gtid) {
            let remedy = "take the GTID from the link's error in twinlog status";
            return Err(refuse("the source has no such transaction", remedy));
        }
        let taken = Checkpoint::take_over(&mut self.connection, &schema, &self.key).await?;
        let checkpoint = taken.ok_or_else(|| refuse("the link has not begun", "start it first"))?;
        if checkpoint.applied().contains(gtid) {
            return Err(refuse("it is applied already", "look at twinlog status for what stands in the way"));
        }
        let mut covers = GtidSet::new();
        covers.insert(gtid);
        let fence = checkpoint.statement(&covers, checkpoint.mark());
        let touch = table::touch(&schema, &self.key, order);
        self.transact("skipping a transaction", &[fence, note, touch]).await?;
        tracing::warn!(link = self.key.text(), %gtid, by = order.by, reason = order.reason, "transaction skipped");
        Ok(Skipped::Passed)
    }

    /// What the link's source can be read for.
    async fn available(&mut self) -> Result<GtidSet, Error> {
        Source::connect(Attach::to_source(&self.config, &self.key)).await?.available().await
    }

    /// Raises the link's epoch: an applier that runs commits nothing more.
    async fn cut_off(&mut self) -> Result<(), Error> {
        match Checkpoint::take_over(&mut self.connection, &self.meta.schema, &self.key).await {
            // A checkpoint that can't be read is one more reason for a new beginning.
            Ok(_) | Err(Error::NotApplicable { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The statements by which the link's place is forgotten. The checkpoint's rows come first: the transaction
    /// carries the link's stamp.
    async fn forgetting(&mut self) -> Result<Vec<String>, Error> {
        let (schema, key) = (self.meta.schema.clone(), sql::text(&self.key.text()));
        let mut statements = vec![format!(
            "DELETE FROM {} WHERE origin = {} AND link = {key}",
            sql::table(&schema, binlog::stamp::CHECKPOINT_TABLE),
            sql::text(&self.key.from)
        )];
        let present = self.meta.tables(&mut self.connection).await?;
        for name in OF_A_LINK.iter().filter(|name| present.iter().any(|p| p == *name)) {
            statements.push(format!("DELETE FROM {} WHERE link = {key}", sql::table(&schema, name)));
        }
        Ok(statements)
    }

    /// Tells the source's relay, and the target's, where the link looks for conflicts.
    async fn let_relays_forget(&mut self) -> Forgotten {
        let mut told = Vec::new();
        let to_source = Attach::to_source(&self.config, &self.key);
        let to_target =
            self.config.target_relay.as_ref().map(|relay| Attach::to_target(&self.config, &self.key, relay));
        for attach in [Some(to_source), to_target].into_iter().flatten() {
            let address = attach.server.address.clone();
            let forgotten = match Source::connect(attach).await {
                Ok(source) => source.forget().await,
                Err(error) => Err(error),
            };
            told.push((address, forgotten));
        }
        told
    }

    async fn transact(&mut self, doing: &'static str, statements: &[String]) -> Result<(), Error> {
        let all: Vec<&str> =
            ["BEGIN"].into_iter().chain(statements.iter().map(String::as_str)).chain(["COMMIT"]).collect();
        let done = self.run(doing, &all).await;
        if done.is_err() && self.connection.is_usable() {
            // The session is dropped after an error; the transaction ends with it in any case.
            _ = self.connection.execute("ROLLBACK").await;
        }
        done
    }

    async fn run(&mut self, doing: &'static str, statements: &[&str]) -> Result<(), Error> {
        for statement in statements {
            self.connection.execute(*statement).await.map_err(Error::target(doing))?;
        }
        Ok(())
    }
}
