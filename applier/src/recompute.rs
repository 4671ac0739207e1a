//! Generated columns that the target has computed anew, held against the images of their rows (see `generated.rs`).
//!
//! A value that came out otherwise is computed once more under other time zones, by an update of the row to itself, until it
//! is the source's: then it is that, however it came to be there. One that no zone gives follows from something else of the
//! session that wrote it, and stops the link (**promise 5**).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use binlog::row::{Image, RawRow, RowsEvent, TableMap};
use binlog::{Event, EventError, EventKind, Gtid};
use wire::{Answer, Connection, GroupError};

use crate::Error;
use crate::apply::Failure;
use crate::attempt::{self, Owner};
use crate::catalog::TargetTable;
use crate::collations::Collations;
use crate::conflict::{condition, literal, packets};
use crate::group::{Group, Member, binlog_statement};
use crate::{sql, zone};

/// Bytes of questions that are asked in one round trip.
const TOGETHER: usize = 1 << 20;

/// What mends the table.
pub(crate) const MAKE_PLAIN: &str = "make the column in both regions of what its row tells (a DATETIME for a TIMESTAMP, the \
    number of a day for its name)";

/// A row that was written with columns that the target computes itself.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) table: Arc<TargetTable>,
    pub(crate) map: Arc<TableMap>,
    pub(crate) map_event: Event,
    /// The change, as an event of its own.
    pub(crate) event: Event,
}

/// Which rows were seen behind those that are looked at: only how a row stands at last counts.
pub(crate) type Later = HashSet<u64>;

/// The rows that these events leave with recomputed columns, but for those known to be changed `later`.
pub(crate) fn written(
    events: &[Event],
    table_of: impl Fn(&TableMap) -> Option<Arc<TargetTable>>,
    later: &mut Later,
) -> Result<Vec<Written>, EventError> {
    let mut maps: Vec<(Event, Arc<TableMap>, Arc<TargetTable>)> = Vec::new();
    let mut all = Vec::new();
    for event in events {
        let id = TableMap::id_of(event);
        if event.kind() == EventKind::TableMap {
            let map = TableMap::parse(event)?;
            maps.retain(|(known, ..)| TableMap::id_of(known) != id);
            let table = table_of(&map).filter(|table| !table.recomputed.is_empty());
            maps.extend(table.map(|table| (event.clone(), Arc::new(map), table)));
            continue;
        }
        let Some((map_event, map, table)) = maps.iter().find(|(map, ..)| TableMap::id_of(map) == id) else {
            continue;
        };
        for event in RowsEvent::parse(event, map)?.split()? {
            let (table, map, map_event) = (table.clone(), map.clone(), map_event.clone());
            all.push(Written { table, map, map_event, event });
        }
    }
    let mut last = Vec::new();
    for row in all.into_iter().rev() {
        let Some(change) = RowsEvent::parse(&row.event, &row.map)?.changes().next().transpose()? else {
            continue;
        };
        let stands = change.after.as_ref().or(change.before.as_ref());
        let stands = stands.and_then(|image| row.table.keys.identity_of(image)).map(|key| hash(&key));
        let is_last = stands.is_some_and(|key| !later.contains(&key));
        later.extend(row.table.keys.of(&change).identity.iter().map(hash));
        if is_last && change.after.is_some() {
            last.push(row);
        }
    }
    Ok(last)
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Written {
    /// Asks for the row if it is not as its image says; `None` where the image tells nothing of it.
    fn question(&self, collations: &Collations) -> Result<Option<String>, EventError> {
        let rows = RowsEvent::parse(&self.event, &self.map)?;
        let Some(change) = rows.changes().next().transpose()? else { return Ok(None) };
        let Some(after) = &change.after else { return Ok(None) };
        let by = |image: &Image<'_>| condition(collations, &self.table, &self.map, image);
        // An image that is not full may lack the key, which stays then.
        let which = by(after).or_else(|| change.before.as_ref().and_then(by));
        let equal = |column: &usize| {
            let described = self.map.columns.get(*column)?;
            let value = match after.get(*column)? {
                binlog::row::Value::Null => "NULL".into(),
                value => literal(collations, described, value)?,
            };
            Some(format!("{} <=> {value}", sql::name(&described.name)))
        };
        let equal: Vec<String> = self.table.recomputed.iter().filter_map(equal).collect();
        Ok(which.filter(|_| !equal.is_empty()).map(|which| {
            let table = sql::table(&self.table.database, &self.table.table);
            format!("SELECT 1 FROM {table} WHERE {which} AND NOT ({})", equal.join(" AND "))
        }))
    }

    /// The statement that writes the row to itself, so that its columns are computed anew; `None` where the image is not
    /// full.
    fn again(&self) -> Result<Option<Vec<u8>>, EventError> {
        if !RowsEvent::parse(&self.event, &self.map)?.is_full_but(&self.table.lacking) {
            return Ok(None);
        }
        let raw = RawRow::of(&self.event, &self.map, &self.table.lacking)?;
        Ok(raw.after.as_ref().map(|image| {
            let update = raw.update(&self.event, &self.map, image, image);
            binlog_statement(&[self.map_event.bytes().as_ref(), update.bytes().as_ref()].concat())
        }))
    }

    /// Why the row can't be had as it is at the source.
    pub(crate) fn differs(&self) -> String {
        let names = self.table.recomputed.iter().filter_map(|i| self.map.columns.get(*i));
        let names: Vec<&str> = names.map(|column| column.name.as_str()).collect();
        format!(
            "a generated column of {} ({}) is stored at the source with a value that the target computes under no time zone: \
             it follows from a setting of the session that wrote it",
            self.table.display_name(),
            names.join(", ")
        )
    }

    /// The same, as it stops a link.
    pub(crate) fn stops(&self, gtid: &Gtid) -> Error {
        Error::NotApplicable {
            gtid: gtid.to_string(),
            what: self.differs(),
            remedy: format!(
                "{MAKE_PLAIN}, then twinlog link skip --gtid, and twinlog verify --repair for the table"
            ),
        }
    }
}

/// Computes anew what came out otherwise than the source has it. `zone` is the one to try first; the last that served is
/// given, and the first row for which none does, or that no statement of `limit` bytes holds twice. The session's zone is UTC behind it, unless its connection is gone.
pub(crate) async fn mend<'r>(
    connection: &mut Connection,
    collations: &Collations,
    rows: &'r [Written],
    zone: Option<&str>,
    limit: usize,
) -> Result<(Option<String>, Option<&'r Written>), Mending> {
    let questions: Vec<(&Written, String)> = rows
        .iter()
        .filter_map(|row| row.question(collations).map(|q| q.map(|q| (row, q))).transpose())
        .collect::<Result<_, _>>()?;
    let asked: Vec<&[u8]> = questions.iter().map(|(_, question)| question.as_bytes()).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for some in packets(&asked, TOGETHER) {
        answers.extend(connection.ask_group(some).await?);
    }
    let mut found = zone.map(str::to_owned);
    for ((row, question), answer) in questions.iter().zip(&answers) {
        if !is_found(answer) {
            continue;
        }
        let again = row.again()?.filter(|statement| statement.len() <= limit);
        let Some(again) = again else { return Ok((None, Some(row))) };
        found = compute_again(connection, &again, question, found.as_deref()).await?;
        if found.is_none() {
            return Ok((None, Some(row)));
        }
    }
    Ok((found, None))
}

/// Why it could not be looked into.
pub(crate) enum Mending {
    Malformed(EventError),
    Failed(GroupError),
}

impl From<EventError> for Mending {
    fn from(error: EventError) -> Self {
        Self::Malformed(error)
    }
}

impl From<GroupError> for Mending {
    fn from(error: GroupError) -> Self {
        Self::Failed(error)
    }
}

/// Tries zone after zone; gives the one under which the row came out as it is at the source.
async fn compute_again(
    connection: &mut Connection,
    again: &[u8],
    question: &str,
    first: Option<&str>,
) -> Result<Option<String>, Mending> {
    for zone in zone::likely(first) {
        let set = zone::set(&zone);
        let tried =
            connection.ask_group(&[set.as_bytes(), again, zone::UTC.as_bytes(), question.as_bytes()]).await;
        match tried {
            Ok(answers) if answers.last().is_some_and(is_found) => {}
            Ok(_) => return Ok(Some(zone)),
            Err(error) => {
                let GroupError::Failed { index, source, .. } = &error else { return Err(error.into()) };
                if *index > 0 {
                    connection.ask_group(&[zone::UTC.as_bytes()]).await?;
                }
                if source.is_transient() {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(None)
}

fn is_found(answer: &Answer) -> bool {
    matches!(answer, Answer::Rows(rows) if !rows.rows.is_empty())
}

impl Owner {
    /// Brings the columns that a group's transaction has recomputed to what the source has. Where that can't be done it is
    /// rolled back.
    pub(crate) async fn mend(&self, connection: &mut Connection, group: &Group) -> Result<(), Failure> {
        let mut later = Later::new();
        for (i, member) in group.members().iter().enumerate().rev().filter(|(_, m)| m.recomputes()) {
            let mut batches = member.batches_backwards();
            while let Some(batch) = batches.next().transpose().map_err(Failure::Fatal)? {
                let rows = self.written(member, &batch, &mut later)?;
                let stuck = self.mend_rows(connection, member, &rows).await?;
                if let Some(row) = stuck {
                    attempt::rollback(connection).await.map_err(Failure::Fatal)?;
                    // Alone it stops the link where it stands; those before it are committed first.
                    let alone = group.members().len() == 1;
                    return Err(if alone {
                        Failure::Fatal(row.stops(&member.gtid))
                    } else {
                        Failure::Collides(vec![i])
                    });
                }
            }
        }
        Ok(())
    }

    fn written(&self, member: &Member, events: &[Event], later: &mut Later) -> Result<Vec<Written>, Failure> {
        let table = |map: &TableMap| member.table(&map.database, &map.table).cloned();
        written(events, table, later)
            .map_err(|source| Failure::Fatal(Error::Event { gtid: member.gtid.to_string(), source }))
    }

    /// See [`mend`]; a transaction in which a statement failed is rolled back.
    pub(crate) async fn mend_rows<'r>(
        &self,
        connection: &mut Connection,
        member: &Member,
        rows: &'r [Written],
    ) -> Result<Option<&'r Written>, Failure> {
        let mended = mend(connection, &self.collations, rows, member.zone.as_deref(), self.max_event_bytes);
        match mended.await {
            Ok((_, stuck)) => Ok(stuck),
            Err(Mending::Malformed(source)) => {
                Err(Failure::Fatal(Error::Event { gtid: member.gtid.to_string(), source }))
            }
            Err(Mending::Failed(error)) => self.settle(connection, Err(error), false).await,
        }
    }
}
