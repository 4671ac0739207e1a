//! Statements in the stream: which are DDL for this link, which are each server's own affair, which end an XA
//! transaction, and which stop the link.

use binlog::event::Query;
use binlog::{Event, Gtid};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{DdlWork, Planner, Prepared, Work};
use crate::Error;
use crate::ddl::{self, Change, Clause, ObjectName, Statement};
use crate::rows::Rows;
use crate::transaction::{Body, Transaction};

impl Planner {
    pub(super) async fn take_statement(
        &mut self,
        t: Transaction,
        event: &Event,
        budget: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: t.gtid.to_string(), source };
        let query = Query::parse(event).map_err(malformed)?;
        let text = String::from_utf8_lossy(query.sql).into_owned();
        match ddl::classify_query(&query) {
            Statement::XaCommit | Statement::XaRollback => self.take_xa_end(t, &text, budget).await,
            Statement::Dml => Err(Error::NotApplicable {
                gtid: t.gtid.to_string(),
                what: format!("rows were changed by a statement that is logged as text: {text}"),
                remedy: "set binlog_format = ROW for the session that wrote it; do in the target what it did, then skip it with twinlog link skip --gtid".into(),
            }),
            Statement::Unknown => Err(Error::NotApplicable {
                gtid: t.gtid.to_string(),
                what: format!("a statement that is not understood: {text}"),
                remedy:
                    "run it in the target if it belongs there, then skip it with twinlog link skip --gtid"
                        .into(),
            }),
            statement => match self.concerns(&statement, &t.gtid, &text)? {
                None => {
                    self.progress.filtered();
                    self.pass(&t);
                    Ok(())
                }
                Some(object) if !self.rules.ddl => self.pass_over(&t, &query, object, text),
                Some(_) => {
                    let event = event.clone();
                    self.take_ddl(t, event, &Rows::Memory(Vec::new())).await
                }
            },
        }
    }

    /// On a link that carries no DDL: a statement after which rows fit as before, or are found not to fit when the
    /// first of them comes, is passed over with a note. One that changed rows unseen stops the link.
    fn pass_over(
        &mut self,
        t: &Transaction,
        query: &Query<'_>,
        object: String,
        text: String,
    ) -> Result<(), Error> {
        let changes = ddl::changes_of(query);
        if changes.is_empty() || !changes.iter().all(leaves_rows) {
            return Err(Error::DdlOff { gtid: t.gtid.clone(), object, statement: text });
        }
        tracing::warn!(gtid = %t.gtid, object, statement = text, "DDL passed over: ddl = false");
        self.catalog.forget();
        self.pass(t);
        Ok(())
    }

    /// What in step a statement is on, if anything.
    fn concerns(&self, statement: &Statement, gtid: &Gtid, text: &str) -> Result<Option<String>, Error> {
        let filter = self.rules.filter.at(gtid);
        match statement {
            Statement::Tables(names) => {
                let (inside, outside): (Vec<_>, Vec<_>) =
                    names.iter().partition(|n| filter.keeps(&n.database, &n.name));
                if let (Some(inside), Some(outside)) = (inside.first(), outside.first()) {
                    return Err(Error::NotApplicable {
                        gtid: gtid.to_string(),
                        what: format!(
                            "a statement on a table in step ({}) and on one that is not ({}): {text}",
                            display(inside),
                            display(outside)
                        ),
                        remedy:
                            "do in the target what it does there, then skip it with twinlog link skip --gtid"
                                .into(),
                    });
                }
                Ok(inside.first().map(|name| display(name)))
            }
            // Views hold no rows: with ddl = false each region has its own.
            Statement::Views(names) => {
                Ok(names.iter().find(|n| self.rules.ddl && filter.touches(&n.database)).map(display))
            }
            Statement::Database(name) => {
                Ok((self.rules.ddl && filter.touches(name)).then(|| format!("database {name}")))
            }
            Statement::DropDatabase(name) => Ok(filter.touches(name).then(|| format!("database {name}"))),
            _ => Ok(None),
        }
    }

    pub(super) async fn take_ddl(&mut self, t: Transaction, event: Event, rows: &Rows) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: t.gtid.to_string(), source };
        let query = Query::parse(&event).map_err(malformed)?;
        if !rows.is_empty() || matches!(t.body, Body::CreateSelect { .. }) {
            let text = String::from_utf8_lossy(query.sql).into_owned();
            if self.concerns(&ddl::classify_query(&query), &t.gtid, &text)?.is_none() {
                self.progress.filtered();
                self.pass(&t);
                return Ok(());
            }
        }
        self.indexes_before(&query).await?;
        let notes = self.note_ddl(&ddl::changes_of(&query));
        let (event, rows) = (self.rename(&t.gtid, event)?, self.keep(&t.gtid, rows)?);
        self.close_group();
        let covers = self.covers(&t);
        let mark = self.reached(&t);
        let Transaction { gtid, committed_at, .. } = t;
        let (done, wait) = oneshot::channel();
        let ddl = Box::new(DdlWork { gtid, event, rows, covers, mark, committed_at, notes });
        self.ready.push_back(Work::Ddl { ddl, done });
        self.ddl_done = Some(wait);
        Ok(())
    }

    /// The statement under the names of the target.
    fn rename(&self, gtid: &Gtid, event: Event) -> Result<Event, Error> {
        let names = self.rules.filter.names();
        if names.is_empty() {
            return Ok(event);
        }
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let query = Query::parse(&event).map_err(malformed)?;
        let refused = |why: String| Error::NotApplicable {
            gtid: gtid.to_string(),
            what: format!(
                "a statement that can't be renamed as the link says: {why}: {}",
                String::from_utf8_lossy(query.sql)
            ),
            remedy: "do in the target what it does there, then skip it with twinlog link skip --gtid".into(),
        };
        // In another character set names are other bytes.
        let plain = |bytes: &[u8]| {
            std::str::from_utf8(bytes).ok().filter(|t| is_utf8(&query) || t.is_ascii()).map(str::to_owned)
        };
        let (Some(sql), Some(database)) = (plain(query.sql), plain(query.database)) else {
            return Err(refused("it is in another character set than UTF-8".into()));
        };
        match ddl::rename(&sql, &database, ddl::has_ansi_quotes(&query), names).map_err(refused)? {
            None => Ok(event),
            Some(new) if !is_utf8(&query) && !new.is_ascii() => {
                Err(refused("a new name is in another character set than the statement".into()))
            }
            Some(new) => Query::rewritten(&event, names.database_there(&database).as_bytes(), new.as_bytes())
                .map_err(malformed),
        }
    }

    /// `CREATE TABLE … SELECT` on a link that carries no DDL: the statement is passed over, its rows are rows.
    pub(super) async fn take_rows_of_created(
        &mut self,
        t: Transaction,
        create: &Event,
        rows: &Rows,
        budget: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: t.gtid.to_string(), source };
        let query = Query::parse(create).map_err(malformed)?;
        let text = String::from_utf8_lossy(query.sql).into_owned();
        if let Some(object) = self.concerns(&ddl::classify_query(&query), &t.gtid, &text)? {
            tracing::warn!(gtid = %t.gtid, object, statement = text, "DDL passed over: ddl = false");
        }
        let rows = self.keep(&t.gtid, rows)?;
        self.take_rows(t, rows, budget).await
    }

    /// `XA COMMIT` applies the prepared rows, `XA ROLLBACK` drops them; both GTIDs are done then.
    async fn take_xa_end(
        &mut self,
        t: Transaction,
        text: &str,
        budget: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        let (xid, commit) = xid_of(text);
        let Some(at) = self.prepared.iter().position(|prepared| prepared.xid == xid) else {
            if !commit {
                self.pass(&t);
                return Ok(());
            }
            return Err(Error::NotApplicable {
                gtid: t.gtid.to_string(),
                what: format!("it commits an XA transaction that was prepared before the link began: {xid}"),
                remedy: "apply its rows by hand, then skip it with twinlog link skip --gtid".into(),
            });
        };
        let Prepared { gtid, zone, rows, .. } = self.prepared.remove(at);
        let rows = self.keep(&t.gtid, &rows)?;
        self.passed.covers.insert(&gtid);
        if !commit || rows.is_empty() {
            self.progress.settled(&gtid);
        }
        if commit {
            // Its numbers are those of the statement, not those of the rows, which were written before.
            let t = Transaction { order: None, zone, ..t };
            return self.take_rows(t, rows, budget).await;
        }
        self.pass(&t);
        Ok(())
    }
}

/// Which XA transaction a statement ends, and whether it commits it; `None` for another statement.
pub(crate) fn xa_end(query: &Query<'_>) -> Option<(String, bool)> {
    let text = String::from_utf8_lossy(query.sql);
    matches!(ddl::classify_query(query), Statement::XaCommit | Statement::XaRollback).then(|| {
        let (xid, commits) = xid_of(&text);
        (xid.to_owned(), commits)
    })
}

fn xid_of(text: &str) -> (&str, bool) {
    let mut words = text.splitn(3, ' ').skip(1);
    let commits = words.next().is_some_and(|word| word.eq_ignore_ascii_case("COMMIT"));
    (words.next().unwrap_or_default().trim(), commits)
}

/// Are all rows there as before, and will the next row event tell what else is new? It carries every column's name and
/// type.
fn leaves_rows(change: &Change) -> bool {
    match change {
        Change::Creates(_) => true,
        Change::Alters(_, clauses) => clauses.iter().all(|clause| match clause {
            Clause::Harmless | Clause::Columns | Clause::DropsColumn(_) | Clause::RenamesColumn(..) => true,
            Clause::ChangesRows | Clause::Partitions | Clause::Unknown => false,
        }),
        Change::Empties(_) | Change::Drops(_) | Change::DropsDatabase(_) | Change::Renames(..) => false,
    }
}

fn display(name: &ObjectName) -> String {
    format!("{}.{}", name.database, name.name)
}

/// Is the statement's text UTF-8? By the collation of its session's client.
fn is_utf8(query: &Query<'_>) -> bool {
    query.settings().charsets.is_none_or(
        |(client, ..)| matches!(client, 33 | 45 | 46 | 76 | 83 | 192..=223 | 224..=247 | 255..=323),
    )
}
