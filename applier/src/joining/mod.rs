//! Tables that come into step, or leave it, once a link has begun: `tables` or `rename` of its file were changed.
//!
//! ```text
//! objects of the file ─┐
//!                      ├─ alike: the round begins
//! table `objects` ─────┘
//!        └─ other: what joins is made (`structure/`) ─▶ one transaction: objects, the source's set, tables to copy ─▶
//!           the round begins, and copies them beside all else (`copy/`)
//! ```
//! What joins does so at a place of the source's log, the set that the source had executed when its tables were listed:
//! transactions in that set are taken as they were before (`Filter::at`), for the copy brings what they did, and behind
//! it the table is in step. The set and the tables to copy are committed under the link's fence before the stream
//! brings anything (**promise 5**: nothing lies between). A table that leaves is out of step at once; should it join again
//! it is copied again.
//!
//! Without a copy, `initial = "none"`, a table joins at that place with the rows that it has.

mod noted;
mod pair;
mod told;

use std::sync::Arc;
use std::time::Duration;

use binlog::GtidSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::Connection;

use crate::checkpoint::Checkpoint;
use crate::copy::{self, LoadTable};
use crate::filter::Filter;
use crate::meta::Meta;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::progress::Progress;
use crate::source::Source;
use crate::status::State;
use crate::structure::{self, Pause};
use crate::{Config, Error, Objects, target};

use noted::Noted;
use pair::{Pair, Verdict};

pub(crate) use noted::{COLUMNS, TABLE};
pub(crate) use told::moves;
pub use told::{How, Move};

/// Between two looks at what a table that joins waits for.
const LOOK: Duration = Duration::from_secs(1);

/// Where a link is when its round begins.
pub(crate) struct Begin<'a> {
    pub(crate) config: &'a Config,
    pub(crate) link: &'a LinkKey,
    pub(crate) connection: &'a mut Connection,
    pub(crate) meta: &'a Meta,
    pub(crate) source: &'a mut Source,
    pub(crate) checkpoint: &'a mut Checkpoint,
    pub(crate) progress: &'a Progress,
    pub(crate) pause: Pause<'a>,
}

/// What is in step in a round.
pub(crate) struct InStep {
    pub(crate) filter: Filter,
    pub(crate) waits: Option<Waits>,
}

/// Tables that are not in step yet, and for what they wait.
pub(crate) type Waits = (Vec<Name>, String);

/// The statement that notes what is in step, in the transaction of a link's birth.
pub(crate) fn first(schema: &str, link: &LinkKey, objects: &Objects) -> String {
    Noted::of(objects).statement(schema, link)
}

/// Tells what is made for these objects from what is made for others; `before`: those that a link had.
fn plan_of(objects: &Objects, before: Option<&Noted>) -> String {
    let texts = [before.map(Noted::text).unwrap_or_default(), Noted::of(objects).text()];
    Uuid::new_v5(&Uuid::NAMESPACE_OID, texts.join("\n").as_bytes()).to_string()
}

/// The same for a link that begins.
pub(crate) fn first_plan(objects: &Objects) -> String {
    plan_of(objects, None)
}

/// Settles what is in step, and lets join what can.
pub(crate) async fn settle(mut begin: Begin<'_>) -> Result<InStep, Error> {
    let Begin { config, link, meta, .. } = begin;
    let filter = Filter::new(config.objects.clone(), &config.meta_schema);
    let Some(noted) = noted::read(begin.connection, &meta.schema, link).await? else {
        begin.adopt(&filter).await?;
        return Ok(InStep { filter, waits: None });
    };
    let before = noted.before()?;
    if noted.is(&config.objects) {
        return Ok(InStep { filter: filter.since(before), waits: None });
    }
    let (noted, waits) = begin.join(&filter, noted).await?;
    let before = noted.before()?;
    let filter = if waits.is_some() { filter.within(noted.now()?) } else { filter };
    Ok(InStep { filter: filter.since(before), waits })
}

impl Begin<'_> {
    /// A link that an earlier version began: what it has in step now it had before. What its copy, if it goes on, is to
    /// copy was not written down with its birth.
    async fn adopt(&mut self, filter: &Filter) -> Result<(), Error> {
        let load = LoadTable::new(&self.meta.schema, self.link);
        let mut statements = vec![first(&self.meta.schema, self.link, &self.config.objects)];
        if load.read(self.connection).await?.is_some_and(|open| open.tables.is_empty()) {
            let (tables, _) = copy::names_now(self.config, filter, self.source).await?;
            statements.extend(load.add(&tables));
        }
        self.commit(&statements).await
    }

    /// Lets join what the file has and the link had not. What has to wait is given: until then it is as if the file left it
    /// out.
    async fn join(&mut self, filter: &Filter, noted: Noted) -> Result<(Noted, Option<Waits>), Error> {
        let (config, link) = (self.config, self.link);
        let initial = config.load.initial;
        let joins = filter.clone().beyond(noted.now()?);
        // Without a copy the source's server need not be in reach: its relay tells the place.
        let (mut tables, mut upto) = match initial.has_data() || initial.has_structure() {
            true => copy::names_now(config, &joins, self.source).await?,
            false => (Vec::new(), self.source.executed().await?),
        };
        let pair = Pair::of(config, link);
        let Verdict { mut copied, wait, why } = match &pair {
            Some(pair) => {
                let of = plan_of(&config.objects, Some(&noted));
                let (schema, behind) = (&self.meta.schema, self.checkpoint.applied());
                let made = structure::begun(self.connection, schema, link, &of, behind).await?;
                pair.look(self.connection, &tables, &made).await?
            }
            None => Verdict::default(),
        };
        let objects = config.objects.without(&wait);
        let waits = why.map(|why| (wait.clone(), why));
        if noted.is(&objects) {
            return Ok((noted, waits));
        }
        tables.retain(|name| !wait.contains(name));
        if initial.has_structure() {
            let looked_at = std::mem::take(&mut tables);
            let vetted: &[Name] = if pair.is_some() { &looked_at } else { &[] };
            let joins = joins.within(objects.clone());
            let of = plan_of(&objects, Some(&noted));
            structure::Made { tables, begin: upto } = self.make(&joins, of, vetted).await?;
            if let Some(new) = tables.iter().find(|name| pair.is_some() && !looked_at.contains(name)) {
                return Err(look_again(new));
            }
        }
        match &pair {
            Some(pair) => {
                let empty = tables.iter().filter(|name| !copied.contains(name));
                if let Some(name) = pair.first_with_rows(empty).await? {
                    return Err(look_again(name));
                }
            }
            None if initial.has_data() => copied.clone_from(&tables),
            None => {}
        }
        copied.retain(|name| tables.contains(name));
        let noted = noted.then(&objects, &upto, self.checkpoint.applied());
        self.note(&noted, &copied, pair.is_some()).await?;
        tracing::info!(link = link.text(), "other tables are in step from here");
        for (database, table) in &tables {
            let is_copied = copied.iter().any(|(d, t)| (d, t) == (database, table));
            tracing::info!(
                link = link.text(),
                table = format!("{database}.{table}"),
                is_copied,
                "table joins"
            );
        }
        Ok((noted, waits))
    }

    /// Makes what joins and is missing in the target.
    async fn make(&mut self, joins: &Filter, of: String, vetted: &[Name]) -> Result<structure::Made, Error> {
        self.progress.state(State::Structure);
        let task = structure::Task { filter: joins, of, behind: self.checkpoint.applied(), stay: vetted };
        structure::make(self.config, self.link, self.connection, self.meta, self.source, &task, self.pause)
            .await
    }

    /// Notes what is in step, and what of it is copied.
    async fn note(&mut self, noted: &Noted, copied: &[Name], in_pair: bool) -> Result<(), Error> {
        let (schema, link, objects) = (&self.meta.schema, self.link, noted.now()?);
        let load = LoadTable::new(schema, link);
        let mut statements = vec![noted.statement(schema, link)];
        match load.read(self.connection).await? {
            Some(open) => {
                let leaves = open.tables.keys().filter(|(database, table)| !objects.has(database, table));
                statements.extend(leaves.map(|(database, table)| load.forget(database, table)));
                statements.extend(load.add(copied));
            }
            None if copied.is_empty() => {}
            None => {
                let (to, connection) = (&self.config.to, &mut *self.connection);
                let (seen, _) = self.checkpoint.seen_of(to, schema, connection).await?;
                statements.extend(load.open(copied, in_pair.then_some(&seen)));
            }
        }
        self.commit(&statements).await
    }

    /// Commits statements on the meta schema under the link's fence.
    async fn commit(&mut self, statements: &[String]) -> Result<(), Error> {
        let failed = Error::target("noting what is in step");
        let mark = self.checkpoint.mark().clone();
        let fence = self.checkpoint.statement(&GtidSet::new(), &mark);
        let all = ["BEGIN", fence.as_str()].into_iter().chain(statements.iter().map(String::as_str));
        for statement in all.chain(["COMMIT"]) {
            match self.connection.execute(statement).await {
                Ok(_) => {}
                // Somebody else has taken the link over.
                Err(error) if error.code() == Some(1048) => {
                    return Err(Error::Fenced { link: self.link.text() });
                }
                Err(error) => return Err(failed(error)),
            }
        }
        self.checkpoint.committed(&GtidSet::new(), &mark);
        Ok(())
    }
}

/// The source has moved on since it was looked at.
fn look_again((database, table): &Name) -> Error {
    Error::SourceMoved { table: format!("{database}.{table}") }
}

/// Waits until nothing holds back the tables that wait, or until `stop`: the next round lets them join.
pub(crate) async fn until_ready(
    config: Arc<Config>,
    link: LinkKey,
    tables: Vec<Name>,
    progress: Progress,
    stop: CancellationToken,
) -> Result<(), Error> {
    let Some(pair) = Pair::of(&config, &link) else { return Ok(()) };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        let waits = async {
            let mut connection = target::connect(&config.targets).await?;
            let waits = pair.waits_for(&mut connection, tables.clone()).await?;
            connection.close().await;
            Ok::<_, Error>(waits)
        };
        match waits.await {
            Ok((wait, _)) if wait.len() < tables.len() => return Ok(()),
            // Others say what they wait for, and that they do no longer.
            Ok((_, why)) => progress.waits_for(why),
            // What can't be asked now is asked again.
            Err(_) => {}
        }
    }
}
