//! A row event: the images of the rows that one statement inserted, changed or deleted.
//!
//! ```text
//! 0  table id   6 bytes
//! 6  flags      u16     1: the last of its statement
//! 8  extra      u16     length, itself included (not in version 1), then as much
//!    columns    length-encoded count
//!    present    a bit for each column; an update has a second set for the after-images
//!    rows       { image, and for an update a second one }*
//! image:  a NULL bit for each present column, then the values that are not NULL
//! ```
//! In a partial update the after-image begins with a length-encoded option word; when its lowest bit is
//! set, a bit for each JSON column follows that says which values are diffs.
//! `libs/mysql/binlog/event/rows_event.h`.

use bytes::Buf;

use super::ColumnType;
use super::table_map::TableMap;
use super::value::{self, Value};
use crate::event::{Event, EventError, EventKind, read_length_encoded};

/// Row event flag: the last event of its statement; the server then forgets the table maps.
pub const STATEMENT_END: u16 = 1;
pub(super) const STATEMENT_END_BYTE: u8 = 1;

/// A row event, borrowed from its bytes.
#[derive(Clone, Debug)]
pub struct RowsEvent<'a> {
    event: &'a Event,
    map: &'a TableMap,
    /// `STATEMENT_END` and other bits.
    pub flags: u16,
    before: Option<Present<'a>>,
    after: Option<Present<'a>>,
    rows: &'a [u8],
}

/// Which columns are in an image.
#[derive(Clone, Copy, Debug)]
struct Present<'a> {
    bits: &'a [u8],
    count: usize,
}

impl<'a> Present<'a> {
    fn take(body: &mut &'a [u8], columns: usize) -> Option<Self> {
        let (bits, rest) = body.split_at_checked(columns.div_ceil(8))?;
        *body = rest;
        let count = (0..columns).filter(|i| bits[i / 8] >> (i % 8) & 1 == 1).count();
        Some(Self { bits, count })
    }

    fn has(&self, column: usize) -> bool {
        self.bits[column / 8] >> (column % 8) & 1 == 1
    }
}

/// The values of one image, by column position; `None` where the image lacks the column.
#[derive(Clone, Debug, PartialEq)]
pub struct Image<'a>(Vec<Option<Value<'a>>>);

impl<'a> Image<'a> {
    /// The value of a column; `None` when the image lacks it.
    pub fn get(&self, column: usize) -> Option<&Value<'a>> {
        self.0.get(column)?.as_ref()
    }

    /// All columns, by position.
    pub fn values(&self) -> &[Option<Value<'a>>] {
        &self.0
    }
}

/// What happened to one row: an insert has only `after`, a delete only `before`.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange<'a> {
    /// The row before.
    pub before: Option<Image<'a>>,
    /// The row after.
    pub after: Option<Image<'a>>,
}

/// A row's change, and the bytes of its images before and after: NULL bits, then values.
pub type RawRowChange<'a> = (RowChange<'a>, [Option<&'a [u8]>; 2]);

impl<'a> RowsEvent<'a> {
    /// The flags of a row event, without reading the rest.
    pub fn flags_of(event: &Event) -> Option<u16> {
        event.body().get(6..8).map(|mut flags| flags.get_u16_le())
    }

    /// Reads a row event of the table that `map` describes.
    pub fn parse(event: &'a Event, map: &'a TableMap) -> Result<Self, EventError> {
        Self::read(event, map).ok_or_else(|| event.malformed("it does not fit its table map"))
    }

    fn read(event: &'a Event, map: &'a TableMap) -> Option<Self> {
        let kind = event.kind();
        if !kind.is_rows() || TableMap::id_of(event)? != map.table_id {
            return None;
        }
        let mut body = event.body().get(8..)?;
        let flags = Self::flags_of(event)?;
        let version_1 =
            matches!(kind, EventKind::WriteRowsV1 | EventKind::UpdateRowsV1 | EventKind::DeleteRowsV1);
        if !version_1 {
            let extra = usize::from(body.try_get_u16_le().ok()?).checked_sub(2)?;
            body = body.get(extra..)?;
        }
        let columns = map.columns.len();
        if read_length_encoded(&mut body)? != columns as u64 {
            return None;
        }
        let first = Present::take(&mut body, columns)?;
        let (before, after) = match kind {
            EventKind::WriteRows | EventKind::WriteRowsV1 => (None, Some(first)),
            EventKind::DeleteRows | EventKind::DeleteRowsV1 => (Some(first), None),
            _ => (Some(first), Some(Present::take(&mut body, columns)?)),
        };
        Some(Self { event, map, flags, before, after, rows: body })
    }

    /// The same event with [`STATEMENT_END`] set: what ends a statement whose own last event is left out.
    pub fn ending_statement(event: &Event) -> Event {
        Self::with_flags(event, STATEMENT_END)
    }

    /// The same event with these flags set besides its own.
    pub fn with_flags(event: &Event, more: u16) -> Event {
        let mut body = event.body().to_vec();
        for (flags, more) in body.iter_mut().skip(6).zip(more.to_le_bytes()) {
            *flags |= more;
        }
        Event::build(&event.header(), &body)
    }

    /// One event for each row, each the last of its statement, in order: the same changes, one at a time.
    pub fn split(&self) -> Result<Vec<Event>, EventError> {
        let body = self.event.body();
        let mut head = body[..body.len() - self.rows.len()].to_vec();
        head[6] |= STATEMENT_END_BYTE;
        let (mut rest, mut out) = (self.rows, Vec::new());
        while !rest.is_empty() {
            let row = rest;
            self.each_row(&mut rest, |_, _, _| Some(())).ok_or_else(|| self.bad())?;
            let one = [&head, &row[..row.len() - rest.len()]].concat();
            out.push(Event::build(&self.event.header(), &one));
        }
        Ok(out)
    }

    /// The bytes of the first row's images before and after: its NULL bits, then its values.
    pub(super) fn raw_images(&self) -> Result<[Option<&'a [u8]>; 2], EventError> {
        self.take_raw_images(&mut { self.rows })
    }

    /// The rows, in order, each with the bytes of its images before and after.
    pub fn raw_rows(&self) -> impl Iterator<Item = Result<RawRowChange<'a>, EventError>> {
        let (this, mut rest) = (self.clone(), self.rows);
        self.changes().map(move |change| Ok((change?, this.take_raw_images(&mut rest)?)))
    }

    fn take_raw_images(&self, rest: &mut &'a [u8]) -> Result<[Option<&'a [u8]>; 2], EventError> {
        let mut images = [None, None];
        if let Some(present) = self.before {
            let begin = *rest;
            self.each_value(rest, present, None, |_, _| Some(())).ok_or_else(|| self.bad())?;
            images[0] = Some(&begin[..begin.len() - rest.len()]);
        }
        if let Some(present) = self.after {
            let diffs = match self.event.kind() {
                EventKind::PartialUpdateRows => self.take_diff_bits(rest).ok_or_else(|| self.bad())?,
                _ => None,
            };
            let begin = *rest;
            self.each_value(rest, present, diffs, |_, _| Some(())).ok_or_else(|| self.bad())?;
            images[1] = Some(&begin[..begin.len() - rest.len()]);
        }
        Ok(images)
    }

    /// Which columns the images before and after have.
    pub(super) fn present(&self) -> [Option<Vec<bool>>; 2] {
        let columns = self.map.columns.len();
        [self.before, self.after].map(|image| image.map(|p| (0..columns).map(|i| p.has(i)).collect()))
    }

    /// How many bytes stand behind the count of columns: which are present, and the rows.
    pub(super) fn bytes_behind_columns(&self) -> usize {
        let sets = [self.before, self.after].into_iter().flatten().map(|p| p.bits.len()).sum::<usize>();
        sets + self.rows.len()
    }

    /// Do all images have all columns?
    pub fn is_full(&self) -> bool {
        self.is_full_but(&[])
    }

    /// Do all images have all columns, these aside, and none of these?
    pub fn is_full_but(&self, lacking: &[usize]) -> bool {
        let is_right = |p: Present<'_>, i: usize| p.has(i) != lacking.contains(&i);
        let full = |image: Option<Present<'_>>| {
            image.is_none_or(|p| (0..self.map.columns.len()).all(|i| is_right(p, i)))
        };
        full(self.before) && full(self.after)
    }

    /// Which columns the images before have; `None` for an insert.
    pub fn before_has(&self) -> Option<Vec<bool>> {
        self.before.map(|present| (0..self.map.columns.len()).map(|i| present.has(i)).collect())
    }

    /// Which columns the images after have; `None` for a delete.
    pub fn after_has(&self) -> Option<Vec<bool>> {
        self.after.map(|present| (0..self.map.columns.len()).map(|i| present.has(i)).collect())
    }

    /// How many rows it changes.
    pub fn count(&self) -> Result<usize, EventError> {
        let (mut rest, mut rows) = (self.rows, 0);
        while !rest.is_empty() {
            self.each_row(&mut rest, |_, _, _| Some(())).ok_or_else(|| self.bad())?;
            rows += 1;
        }
        Ok(rows)
    }

    /// The rows, in order.
    pub fn changes(&self) -> impl Iterator<Item = Result<RowChange<'a>, EventError>> {
        let mut rest = self.rows;
        let (this, columns) = (self.clone(), self.map.columns.len());
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut images = [this.before, this.after].map(|p| p.map(|_| vec![None; columns]));
            let done = this.each_row(&mut rest, |image, column, value| {
                *images[image].as_mut()?.get_mut(column)? = Some(value?);
                Some(())
            });
            if done.is_none() {
                rest = &[];
                return Some(Err(this.bad()));
            }
            let [before, after] = images.map(|values| values.map(Image));
            Some(Ok(RowChange { before, after }))
        })
    }

    fn bad(&self) -> EventError {
        self.event.malformed("a row image is cut short")
    }

    /// Walks one row's values: image 0 is before, 1 after.
    fn each_row(
        &self,
        rest: &mut &'a [u8],
        mut each: impl FnMut(usize, usize, Option<Value<'a>>) -> Option<()>,
    ) -> Option<()> {
        let start = rest.len();
        if let Some(present) = self.before {
            self.each_value(rest, present, None, |column, value| each(0, column, value))?;
        }
        if let Some(present) = self.after {
            let diffs = match self.event.kind() {
                EventKind::PartialUpdateRows => self.take_diff_bits(rest)?,
                _ => None,
            };
            self.each_value(rest, present, diffs, |column, value| each(1, column, value))?;
        }
        // A table without columns in its images would never end.
        (rest.len() < start).then_some(())
    }

    #[expect(clippy::option_option, reason = "outside: malformed; inside: no diffs in this row")]
    fn take_diff_bits(&self, rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
        if read_length_encoded(rest)? & 1 == 0 {
            return Some(None);
        }
        let is_json = |c: &&super::Column| matches!(c.kind, ColumnType::Json { .. });
        let json = self.map.columns.iter().filter(is_json).count();
        let (bits, tail) = rest.split_at_checked(json.div_ceil(8))?;
        *rest = tail;
        Some(Some(bits))
    }

    fn each_value(
        &self,
        rest: &mut &'a [u8],
        present: Present<'_>,
        diffs: Option<&[u8]>,
        mut each: impl FnMut(usize, Option<Value<'a>>) -> Option<()>,
    ) -> Option<()> {
        let (nulls, tail) = rest.split_at_checked(present.count.div_ceil(8))?;
        *rest = tail;
        let (mut nth, mut json) = (0, 0);
        for (i, column) in self.map.columns.iter().enumerate() {
            let is_diff = matches!(column.kind, ColumnType::Json { .. }) && {
                json += 1;
                diffs.is_some_and(|bits| bits[(json - 1) / 8] >> ((json - 1) % 8) & 1 == 1)
            };
            if !present.has(i) {
                continue;
            }
            let null = nulls[nth / 8] >> (nth % 8) & 1 == 1;
            nth += 1;
            let value = if null {
                Some(Value::Null)
            } else if is_diff {
                Some(Value::JsonDiff(value::take_diff(rest)?))
            } else {
                value::read(column, value::take(column.kind, rest)?)
            };
            each(i, value)?;
        }
        Some(())
    }
}
