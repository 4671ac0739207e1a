//! A row that no statement can carry: its packet would be larger than the target's `max_allowed_packet`.
//!
//! The row event is applied without its long texts and blobs ([`Shrunk`]), which are brought over in pieces into a
//! variable of the session and put into the row by an `UPDATE`, all in one transaction with the checkpoint. An
//! `UPDATE` fires triggers, so a table that has one is refused, and so is one without a key to find the row by, or with
//! columns that are computed by the session.

use binlog::row::{RowsEvent, Shrunk, TableMap};
use binlog::{Event, EventKind};

use crate::apply::{Applier, Failure};
use crate::catalog::TargetTable;
use crate::conflict::condition;
use crate::group::{Group, Member, binlog_statement};
use crate::{Error, sql};

/// Values no longer than this stay in the event.
const LONGEST: usize = 1 << 20;
/// Bytes of a value that one statement brings over, at most.
const PIECE: usize = 4 << 20;
/// The session's variable for a value on its way.
const VARIABLE: &str = "@twinlog_value";

impl Applier {
    /// Applies a transaction that has such a row, alone.
    pub(crate) async fn apply_large_rows(&mut self, member: Member) -> Result<(), Error> {
        let group: Group = std::iter::once(member).collect();
        let Some(member) = group.members().first() else { return Ok(()) };
        for table in &member.tables {
            if !table.recomputed.is_empty() {
                return Err(too_large(member, self.largest_event));
            }
            self.refuse_triggers(member, table).await?;
        }
        loop {
            match self.try_large_rows(&group, member).await {
                Ok(()) => return Ok(()),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Refused(source)) => {
                    return Err(Error::Apply { gtid: member.gtid.to_string(), source });
                }
                Err(Failure::WindowBehind(needed)) => self.wait_for_window(&needed).await?,
                Err(Failure::Collides(_) | Failure::Undecided(_)) => return Err(collides(member)),
            }
        }
    }

    async fn try_large_rows(&mut self, group: &Group, member: &Member) -> Result<(), Failure> {
        let (covers, mark) = (member.covers.clone(), member.mark.clone());
        let fence = self.fence(&covers, &mark);
        self.run_fenced(&[b"BEGIN", fence.as_bytes()]).await?;
        let mut rows = 0;
        for batch in member.batches() {
            rows += self.apply_events(member, &batch.map_err(Failure::Fatal)?).await?;
        }
        self.check_definitions_now(&member.tables).await?;
        if self.watches(&member.tables) {
            self.reach_now().await?;
            if !self.collisions(group).await?.is_empty() {
                self.rollback().await.map_err(Failure::Fatal)?;
                return Err(Failure::Collides(vec![0]));
            }
        }
        self.step(b"COMMIT").await?;
        self.committed(&covers, &mark, 1, rows, member.committed_at).map_err(Failure::Fatal)
    }

    /// Applies row events one by one; how many rows they change.
    async fn apply_events(&mut self, member: &Member, events: &[Event]) -> Result<u64, Failure> {
        let malformed = |source| Failure::Fatal(Error::Event { gtid: member.gtid.to_string(), source });
        let mut maps: Vec<(&Event, TableMap)> = Vec::new();
        let mut count = 0;
        for event in events {
            let id = TableMap::id_of(event);
            if event.kind() == EventKind::TableMap {
                maps.retain(|(known, _)| TableMap::id_of(known) != id);
                maps.push((event, TableMap::parse(event).map_err(malformed)?));
                continue;
            }
            let Some((map_event, map)) = maps.iter().find(|(known, _)| TableMap::id_of(known) == id) else {
                continue;
            };
            let rows = RowsEvent::parse(event, map).map_err(malformed)?;
            count += rows.count().map_err(malformed)? as u64;
            let whole = RowsEvent::ending_statement(event);
            if self.fits(map_event, &whole) {
                self.step(&statement(map_event, &whole)).await?;
                continue;
            }
            for one in rows.split().map_err(malformed)? {
                self.apply_row(member, map_event, map, &one).await?;
            }
        }
        Ok(count)
    }

    async fn apply_row(
        &mut self,
        member: &Member,
        map_event: &Event,
        map: &TableMap,
        event: &Event,
    ) -> Result<(), Failure> {
        let malformed = |source| Failure::Fatal(Error::Event { gtid: member.gtid.to_string(), source });
        if self.fits(map_event, event) {
            return self.step(&statement(map_event, event)).await;
        }
        let limit = self.largest_event;
        let refused = || Failure::Fatal(too_large(member, limit));
        let shrunk =
            Shrunk::of(event, map, LONGEST.min(limit / 4)).map_err(malformed)?.ok_or_else(refused)?;
        let table = member.table(&map.database, &map.table).ok_or_else(refused)?;
        // A variable holds no more than a packet does.
        let packet = limit / 3 * 4;
        let fits = self.fits(map_event, &shrunk.event) && shrunk.taken.iter().all(|(_, v)| v.len() <= packet);
        if !fits || !table.keys.has_identity() {
            self.rollback().await.map_err(Failure::Fatal)?;
            return Err(refused());
        }
        self.step(&statement(map_event, &shrunk.event)).await?;
        let rows = RowsEvent::parse(event, map).map_err(malformed)?;
        let change = rows.changes().next().transpose().map_err(malformed)?;
        let Some(after) = change.and_then(|change| change.after) else { return Ok(()) };
        let which = condition(&self.collations, table, map, &after).ok_or_else(refused)?;
        for (column, value) in &shrunk.taken {
            self.bring(value).await?;
            let update = format!(
                "UPDATE {} SET {} = {VARIABLE}{} WHERE {which}",
                sql::table(&table.database, &table.table),
                sql::name(&map.columns[*column].name),
                unmoved(map)
            );
            self.step(update.as_bytes()).await?;
        }
        self.step(format!("SET {VARIABLE} = NULL").as_bytes()).await
    }

    /// Brings a value into the session's variable, piece by piece.
    async fn bring(&mut self, value: &[u8]) -> Result<(), Failure> {
        self.step(format!("SET {VARIABLE} = ''").as_bytes()).await?;
        for piece in value.chunks(PIECE.min(self.largest_event / 2)) {
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, piece);
            let add = format!("SET {VARIABLE} = CONCAT({VARIABLE}, FROM_BASE64('{encoded}'))");
            self.step(add.as_bytes()).await?;
        }
        Ok(())
    }

    fn fits(&self, map: &Event, event: &Event) -> bool {
        map.bytes().len() + event.bytes().len() <= self.largest_event
    }

    /// Refuses a table with triggers, and one whose triggers the account can't see.
    async fn refuse_triggers(&mut self, member: &Member, table: &TargetTable) -> Result<(), Error> {
        let failed = Error::target("looking for triggers");
        let (database, name) = (sql::text(&table.database), sql::text(&table.table));
        let query = format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {database} \
             AND EVENT_OBJECT_TABLE = {name}) AS triggers, \
             (SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER') + \
             (SELECT COUNT(*) FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
             AND {database} LIKE TABLE_SCHEMA) + \
             (SELECT COUNT(*) FROM information_schema.TABLE_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
             AND TABLE_SCHEMA = {database} AND TABLE_NAME = {name}) AS sees"
        );
        let rows = self.connection.query_rows(query).await.map_err(&failed)?;
        let row = rows.first().ok_or_else(|| failed(wire::Error::Invalid { what: "no answer".into() }))?;
        let (triggers, sees): (u64, u64) =
            (row.parse("triggers").map_err(&failed)?, row.parse("sees").map_err(&failed)?);
        if triggers == 0 && sees > 0 { Ok(()) } else { Err(too_large(member, self.largest_event)) }
    }
}

/// Columns that the server would set to the time of an update by itself keep what they have.
fn unmoved(map: &TableMap) -> String {
    use binlog::row::ColumnType;
    let is_time = |kind| matches!(kind, ColumnType::Timestamp { .. } | ColumnType::DateTime { .. });
    let times =
        map.columns.iter().filter(|column| is_time(column.kind)).map(|column| sql::name(&column.name));
    times.map(|name| format!(", {name} = {name}")).collect()
}

fn statement(map: &Event, event: &Event) -> Vec<u8> {
    binlog_statement(&[map.bytes().as_ref(), event.bytes().as_ref()].concat())
}

fn too_large(member: &Member, limit: usize) -> Error {
    Error::RowTooLarge { gtid: member.gtid.clone(), bytes: member.largest_event(), limit }
}

fn collides(member: &Member) -> Error {
    Error::NotApplicable {
        gtid: member.gtid.to_string(),
        what: "it meets rows that changed unseen, and one of its rows is too large to be decided about"
            .into(),
        remedy: "SET PERSIST max_allowed_packet = 1073741824 in the target, then start the link again".into(),
    }
}
