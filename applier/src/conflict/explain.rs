//! A row that collides, told: written down with its transaction, and reported where a person must decide.

use binlog::GtidSet;
use binlog::row::RowsEvent;
use serde_json::Value as Json;
use wire::ServerError;

use super::readable;
use super::record::Conflict;
use super::redo::{Redo, Writers};
use super::rules::{Kind, Winner};
use crate::apply::{Applier, Failure};
use crate::{Error, target};

impl Applier {
    /// A conflict as it is written down, without its winner.
    pub(super) async fn describe(
        &mut self,
        redo: &Redo<'_>,
        i: usize,
        kind: Kind,
        writers: &Writers,
        local: Option<Json>,
        error: Option<&ServerError>,
    ) -> Result<Conflict, Failure> {
        let row = &redo.rows[i];
        let malformed =
            |source| Failure::Fatal(Error::Event { gtid: redo.member(i).gtid.to_string(), source });
        let rows = RowsEvent::parse(&row.event, &row.map).map_err(malformed)?;
        let change = rows.changes().next().transpose().map_err(malformed)?;
        let mut images = [None, None];
        if let Some(change) = &change {
            for (image, read) in images.iter_mut().zip([&change.before, &change.after]) {
                let Some(read) = read else { continue };
                let readable = readable::image(&mut self.connection, &self.collations, &row.map, read);
                *image = Some(readable.await.map_err(Failure::Fatal)?);
            }
        }
        let [before, after] = images;
        let unseen = writers.gtids.to_string();
        let detail = match (error, self.is_watched(&row.table), unseen.is_empty()) {
            (Some(error), true, true) => format!("drift, nobody wrote it unseen: {error}"),
            (Some(error), ..) => error.to_string(),
            (None, ..) => String::new(),
        };
        Ok(Conflict {
            gtid: redo.member(i).gtid.clone(),
            committed_at: redo.member(i).committed_at,
            database: row.table.database.clone(),
            table: row.table.table.clone(),
            key: row.key_of(before.as_ref().or(after.as_ref())),
            operation: row.operation().word(),
            kind,
            policy: row.rules.policy,
            winner: Winner::Nobody,
            detail,
            // A set of many is cut: it is for people.
            unseen: unseen.chars().take(1000).collect(),
            before,
            after,
            local,
        })
    }

    /// A refusal that no policy decides: a privilege that is missing, a table that is gone.
    pub(super) async fn not_a_conflict(&mut self, redo: &Redo<'_>, i: usize, source: ServerError) -> Failure {
        if let Err(error) = self.rollback().await {
            return Failure::Fatal(error);
        }
        let row = &redo.rows[i];
        let column = row.map.columns.first().map(|c| c.name.clone()).unwrap_or_default();
        let (database, table) = (&row.table.database, &row.table.table);
        let missing = target::missing_table_privilege(&mut self.connection, database, table, &column).await;
        Failure::Fatal(missing.unwrap_or_else(|| Error::NotApplicable {
            gtid: redo.member(i).gtid.to_string(),
            what: format!("{} of {database}.{table} is refused: {source}", row.operation().word()),
            remedy: "mend what the server names, then twinlog link start".into(),
        }))
    }

    pub(super) async fn undecided(&mut self, conflict: Conflict) -> Result<(), Failure> {
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Undecided(Box::new(conflict)))
    }

    /// Writes down what a person must decide, in a transaction of its own, and stops the link.
    pub(super) async fn report(&mut self, redo: &Redo<'_>, conflict: Conflict) -> Error {
        let known = redo.open.iter().find(|open| open.is(&conflict));
        let id = match known {
            Some(open) => Ok(open.id),
            None => self.write_down(&conflict).await,
        };
        match id {
            Ok(id) => Error::Conflict {
                gtid: conflict.gtid,
                table: format!("{}.{}", conflict.database, conflict.table),
                operation: conflict.operation,
                key: conflict.key.to_string(),
                kind: conflict.kind,
                id: format!("{}/{id}", self.link.to),
                number: id,
                detail: conflict.detail,
            },
            Err(error) => error,
        }
    }

    async fn write_down(&mut self, conflict: &Conflict) -> Result<u64, Error> {
        let (covers, mark) = (GtidSet::new(), self.checkpoint.mark().clone());
        let fence = self.fence(&covers, &mark);
        let insert = conflict.insert(&self.schema, &self.link);
        let id = self.commit_small(&[&fence, &insert]).await?;
        self.persisted(&covers, &mark)?;
        Ok(id)
    }
}
