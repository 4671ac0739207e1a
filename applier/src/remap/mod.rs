//! Rows of one layout made rows of another: for tables whose columns differ in the target.
//!
//! The server applies rows by position, and takes what does not tell it better: a column in another place gets another's
//! values, a reordered ENUM other members, NULL in a column that is NOT NULL becomes its default. So where the target's
//! table is another, table map and row events are written anew: each column in the target's place and type, found by its
//! name. What the source does not have is absent from the images, as with `binlog_row_image = MINIMAL`: the server gives an
//! insert the column's default, and leaves it alone in an update.
//!
//! [`plan`] says whether that is possible for a table, [`convert`] whether a value can be written. Nothing is cut, rounded
//! or replaced: what does not fit exactly stops the link (**promise 5**).

mod convert;
mod layout;
mod plan;

use std::collections::HashMap;

use binlog::event::EventError;
use binlog::row::{Column, Image, RowsEvent, TableMap, Value};
use binlog::{Event, EventKind};
use wire::Connection;

use convert::Texts;
pub use layout::ColumnFacts;
pub(crate) use layout::TargetColumn;
pub(crate) use plan::{Plan, plan};

use crate::definition::Shape;
use crate::{Error, sql};

/// Texts that the server converts in one question.
const ASKED_AT_ONCE: usize = 200;

/// May rows of a table with these columns be applied to one with those? `Ok(true)`: they are written anew, column by
/// column; an error says why they can't be.
pub fn rows_fit(source: &[ColumnFacts], target: &[ColumnFacts]) -> Result<bool, String> {
    let mut here = Vec::with_capacity(source.len());
    for facts in source {
        let column = TargetColumn::new(facts.clone());
        let described = column.column.ok_or_else(|| format!("column {} has an unknown type", facts.name))?;
        here.push((column.shape, described));
    }
    let there: Vec<TargetColumn> = target.iter().cloned().map(TargetColumn::new).collect();
    plan(&here, &there).map(|plan| plan.is_some())
}

/// Rows of a table map of the source, for a table of the target.
#[derive(Debug)]
pub(crate) struct Remap {
    source: TableMap,
    shapes: Vec<Shape>,
    plan: Plan,
    target: Vec<TargetColumn>,
}

/// Why an event could not be written anew.
pub(crate) enum Misfit {
    /// It is not what its type says.
    Malformed(EventError),
    /// A value does not fit.
    Value(String),
    /// The server could not be asked.
    Fatal(Error),
}

impl Remap {
    pub(crate) fn new(source: TableMap, shapes: Vec<Shape>, plan: Plan, target: Vec<TargetColumn>) -> Self {
        Self { source, shapes, plan, target }
    }

    /// The source's columns, for people.
    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Positions of the target's columns that images do not have.
    pub(crate) fn lacking(&self) -> Vec<usize> {
        self.plan.moves.iter().enumerate().filter(|(_, m)| m.is_none()).map(|(i, _)| i).collect()
    }

    /// The table map in the target's layout, under the number that `event` has.
    pub(crate) fn map(&self, event: &Event) -> Event {
        let columns: Vec<Column> = self.target.iter().filter_map(|t| t.column.clone()).collect();
        let map = TableMap {
            table_id: TableMap::id_of(event).unwrap_or(self.source.table_id),
            database: self.source.database.clone(),
            table: self.source.table.clone(),
            columns,
            primary_key: Vec::new(),
            has_names: true,
        };
        let header = event.header();
        map.to_event(header.server_id).with_header(|h| h.timestamp = header.timestamp)
    }

    /// The row event in the target's layout. `connection` is asked for texts in other character sets.
    pub(crate) async fn rows(&self, event: &Event, connection: &mut Connection) -> Result<Event, Misfit> {
        let source = TableMap { table_id: TableMap::id_of(event).unwrap_or_default(), ..self.source.clone() };
        let rows = RowsEvent::parse(event, &source).map_err(Misfit::Malformed)?;
        let texts = self.texts(&rows, connection).await?;
        let mut body = event.body().get(..8).unwrap_or_default().to_vec();
        let kind = match event.kind() {
            // Without a diff, which is refused, it is an ordinary update.
            EventKind::PartialUpdateRows => EventKind::UpdateRows,
            kind => kind,
        };
        let is_first_version =
            matches!(kind, EventKind::WriteRowsV1 | EventKind::UpdateRowsV1 | EventKind::DeleteRowsV1);
        if !is_first_version {
            // No extra data: its length counts itself.
            body.extend_from_slice(&2u16.to_le_bytes());
        }
        put_count(&mut body, self.target.len());
        let present = [rows.before_has(), rows.after_has()].map(|has| has.map(|has| self.present(&has)));
        for present in present.iter().flatten() {
            put_bits(&mut body, present.iter().copied());
        }
        for change in rows.changes() {
            let change = change.map_err(Misfit::Malformed)?;
            for (image, present) in [&change.before, &change.after].into_iter().zip(&present) {
                if let (Some(image), Some(present)) = (image, present) {
                    self.put_image(image, present, &texts, &mut body).map_err(Misfit::Value)?;
                }
            }
        }
        let mut header = event.header();
        header.kind = kind;
        Ok(Event::build(&header, &body))
    }

    /// Which of the target's columns are in an image that has these of the source's.
    fn present(&self, has: &[bool]) -> Vec<bool> {
        self.plan.moves.iter().map(|m| m.as_ref().is_some_and(|m| has.get(m.from) == Some(&true))).collect()
    }

    fn put_image(
        &self,
        image: &Image<'_>,
        present: &[bool],
        texts: &Texts,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let moves = self.plan.moves.iter().zip(&self.target).zip(present);
        let there: Vec<_> =
            moves.filter(|(_, present)| **present).filter_map(|((m, t), _)| Some((m.as_ref()?, t))).collect();
        let is_null = |from: usize| image.get(from) == Some(&Value::Null);
        put_bits(out, there.iter().map(|(m, _)| is_null(m.from)));
        for (m, target) in there {
            match image.get(m.from) {
                Some(Value::Null) if m.refuses_null => {
                    return Err(format!(
                        "column {} is NULL, and is NOT NULL in the target",
                        target.facts.name
                    ));
                }
                None | Some(Value::Null) => {}
                Some(value) => convert::put(value, &m.how, target, texts, out)?,
            }
        }
        Ok(())
    }

    /// Every text of the event that the server must convert.
    async fn texts(&self, rows: &RowsEvent<'_>, connection: &mut Connection) -> Result<Texts, Misfit> {
        let mut wanted: HashMap<(String, String), Vec<Vec<u8>>> = HashMap::new();
        let converts = |m: &&plan::Move| matches!(m.how, plan::How::Convert { .. });
        let moves: Vec<&plan::Move> = self.plan.moves.iter().flatten().filter(converts).collect();
        if moves.is_empty() {
            return Ok(Texts::new());
        }
        for change in rows.changes() {
            let change = change.map_err(Misfit::Malformed)?;
            for image in [&change.before, &change.after].into_iter().flatten() {
                for m in &moves {
                    let asked = image.get(m.from).and_then(|value| convert::asks(value, &m.how));
                    if let (Some(text), plan::How::Convert { from, to }) = (asked, &m.how) {
                        wanted.entry((from.clone(), to.clone())).or_default().push(text.to_vec());
                    }
                }
            }
        }
        let mut texts = Texts::new();
        for ((from, to), mut all) in wanted {
            all.sort();
            all.dedup();
            for some in all.chunks(ASKED_AT_ONCE) {
                let converted = ask(connection, &from, &to, some).await.map_err(Misfit::Fatal)?;
                let pairs = some.iter().cloned().zip(converted);
                texts.extend(pairs.map(|(text, new)| ((from.clone(), to.clone(), text), new)));
            }
        }
        Ok(texts)
    }
}

/// Texts in another character set; `None` for one that does not come back as it was.
async fn ask(
    connection: &mut Connection,
    from: &str,
    to: &str,
    texts: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let failed = Error::target("converting texts");
    let each = |text: &Vec<u8>| {
        let text = sql::bytes(text);
        let new = format!("CONVERT(_{from} {text} USING {to})");
        format!("IF(CAST(CONVERT({new} USING {from}) AS BINARY) = {text}, CAST({new} AS BINARY), NULL)")
    };
    let query = format!("SELECT {}", texts.iter().map(each).collect::<Vec<_>>().join(", "));
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let row = rows.rows.first().ok_or_else(|| failed(wire::Error::Invalid { what: "no answer".into() }))?;
    Ok((0..texts.len()).map(|i| row.get(i).and_then(Option::as_ref).map(|bytes| bytes.to_vec())).collect())
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    match u16::try_from(count) {
        Ok(small) if small < 251 => out.extend_from_slice(&small.to_le_bytes()[..1]),
        // No table has more than 4096 columns.
        other => {
            out.push(0xfc);
            out.extend_from_slice(&other.unwrap_or(u16::MAX).to_le_bytes());
        }
    }
}

fn put_bits(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    let begin = out.len();
    for (i, bit) in bits.enumerate() {
        if i % 8 == 0 {
            out.push(0);
        }
        out[begin + i / 8] |= u8::from(bit) << (i % 8);
    }
}
