//! Rows of the target alone that a foreign key would take along: asked for under a group's locks, and written into the
//! conflict table by the transaction that takes them.

use std::collections::HashMap;
use std::sync::Arc;

use binlog::EventKind;
use binlog::row::{RowsEvent, TableMap};

use super::local_row::literal;
use super::record::Conflict;
use super::redo::Redo;
use super::rules::{Kind, Winner};
use crate::apply::{Applier, Failure};
use crate::cascades::{self, TakenRow, Touched};
use crate::catalog::TargetTable;
use crate::group::{Group, Member};
use crate::{Error, sql};

impl Applier {
    /// What a group must ask before it is applied, each with the member that it is about: nothing where no foreign key
    /// of the target cascades.
    pub(crate) fn cascade_questions(&self, group: &Group) -> Result<Vec<(usize, String)>, Error> {
        let mut questions = Vec::new();
        for (i, member) in group.members().iter().enumerate() {
            if member.tables.iter().all(|table| table.cascades.is_empty()) {
                continue;
            }
            each_event(member, |map, table, event| {
                let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
                let all = cascades::taken(table, map, event, &self.collations).map_err(malformed)?;
                for taken in &all {
                    let touched = self.touched(group, &taken.cascade.child)?;
                    questions.push((i, cascades::question(table, taken, &touched)));
                }
                Ok(())
            })?;
        }
        Ok(questions)
    }

    /// The rows of a table that the group changes or deletes by itself.
    fn touched(&self, group: &Group, (database, table): &(String, String)) -> Result<Touched, Error> {
        let mut columns: Vec<String> = Vec::new();
        let mut keys = Vec::new();
        for member in group.members().iter().filter(|m| m.table(database, table).is_some()) {
            each_event(member, |map, of, event| {
                if (&of.database, &of.table) != (database, table) {
                    return Ok(());
                }
                let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
                let identity = of.keys.identity_columns();
                let named = identity.iter().filter_map(|(at, _)| map.columns.get(*at));
                columns = named.map(|column| column.name.clone()).collect();
                for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
                    let Some(before) = change.map_err(malformed)?.before else { continue };
                    let value = |(at, _): &(usize, Option<usize>)| {
                        literal(&self.collations, map.columns.get(*at)?, before.get(*at)?)
                    };
                    let values: Option<Vec<String>> = identity.iter().map(value).collect();
                    keys.extend(values.map(|values| format!("({})", values.join(", "))));
                }
                Ok(())
            })?;
        }
        Ok(if columns.is_empty() { Touched::Unknown } else { Touched::Rows(columns, keys) })
    }

    /// What a row of a transaction that is done again takes along, locked, as it is written down.
    pub(super) async fn taken_along(&mut self, redo: &Redo<'_>, i: usize) -> Result<Vec<Conflict>, Failure> {
        let row = &redo.rows[i];
        let malformed =
            |source| Failure::Fatal(Error::Event { gtid: redo.member(i).gtid.to_string(), source });
        let all = cascades::taken(&row.table, &row.map, &row.event, &self.collations).map_err(malformed)?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        // Nobody adds a row below while its parent is locked.
        self.found(redo, i).await?;
        let mut conflicts = Vec::new();
        for taken in &all {
            match cascades::rows(&mut self.connection, taken).await.map_err(Failure::Fatal)? {
                Ok(rows) => conflicts.extend(rows.into_iter().map(|row| self.taken_row(redo, i, row))),
                Err(error) => {
                    self.rollback().await.map_err(Failure::Fatal)?;
                    return Err(Failure::Refused(error));
                }
            }
        }
        Ok(conflicts)
    }

    fn taken_row(&self, redo: &Redo<'_>, i: usize, taken: TakenRow) -> Conflict {
        let (row, (database, table)) = (&redo.rows[i], taken.table);
        let what = if taken.deleted { "deletes" } else { "changes" };
        Conflict {
            gtid: redo.member(i).gtid.clone(),
            committed_at: redo.member(i).committed_at,
            policy: self.conflicts.of(&database, &table).policy,
            key: taken.key,
            operation: if taken.deleted { "delete" } else { "update" },
            kind: Kind::Parent,
            winner: Winner::Source,
            detail: format!(
                "foreign key {} {what} it with a row of {}, which the source did without it",
                sql::name(&taken.by),
                row.table.display_name()
            ),
            unseen: String::new(),
            before: None,
            after: None,
            local: Some(taken.row),
            database,
            table,
        }
    }
}

/// Hands over each row event of a transaction with its table.
fn each_event(
    member: &Member,
    mut each: impl FnMut(&TableMap, &Arc<TargetTable>, &binlog::Event) -> Result<(), Error>,
) -> Result<(), Error> {
    let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
    let mut maps: HashMap<u64, (TableMap, &Arc<TargetTable>)> = HashMap::new();
    for batch in member.batches() {
        for event in batch?.iter() {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                let map = TableMap::parse(event).map_err(malformed)?;
                maps.remove(&id);
                if let Some(table) = member.table(&map.database, &map.table) {
                    maps.insert(id, (map, table));
                }
            } else if let Some((map, table)) = maps.get(&id) {
                each(map, table, event)?;
            }
        }
    }
    Ok(())
}
