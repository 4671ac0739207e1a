//! A row made small: its long texts and blobs taken out, so that a statement can carry the rest.
//!
//! What is left is applied like any row event; what was taken out is put in behind it. An insert keeps the first bytes
//! of each, for a column may be NOT NULL or begin a unique key. From the images of an update and a delete they are left
//! out, as `binlog_row_image=MINIMAL` leaves them out: the key finds the row, and what is not in the image after stays.

use super::column::ColumnType;
use super::rows_event::RowsEvent;
use super::table_map::TableMap;
use super::value;
use crate::event::{Event, EventError, EventKind};

/// An insert keeps so many bytes of a value: as many as an index can take.
const KEPT: usize = 3072;

/// A row event without its long values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// What is left of the event.
    pub event: Event,
    /// The values of the image after that were taken out, by column position.
    pub taken: Vec<(usize, Vec<u8>)>,
}

/// One image, value by value as it lies in the event.
struct Lying<'a> {
    /// Column position, its bytes with their length in front; `None` for NULL.
    values: Vec<(usize, Option<&'a [u8]>)>,
}

impl Shrunk {
    /// Takes values of texts and blobs that are longer than `longest` out of an event with one row, as
    /// [`RowsEvent::split`] gives it. `None` when nothing in it is as long, or it is told by what changed inside
    /// JSON documents.
    ///
    /// # Errors
    ///
    /// [`EventError`] where the event does not fit its table map.
    pub fn of(event: &Event, map: &TableMap, longest: usize) -> Result<Option<Self>, EventError> {
        if event.kind() == EventKind::PartialUpdateRows {
            return Ok(None);
        }
        let rows = RowsEvent::parse(event, map)?;
        let bad = || event.malformed("a row image is cut short");
        let [before, after] = rows.raw_images()?;
        let [has_before, has_after] = rows.present();
        let before = Lying::of(before, has_before, map).ok_or_else(bad)?;
        let after = Lying::of(after, has_after, map).ok_or_else(bad)?;
        let is_insert = before.is_none();
        let is_long = |(column, bytes): &(usize, Option<&[u8]>)| {
            let kind = map.columns[*column].kind;
            matches!(kind, ColumnType::Blob { .. }) && bytes.is_some_and(|bytes| bytes.len() > longest)
        };
        let mut taken = Vec::new();
        for (column, bytes) in after.iter().flat_map(|image| &image.values).filter(|v| is_long(v)) {
            let prefix = length_bytes(map.columns[*column].kind);
            taken.push((*column, bytes.unwrap_or_default()[prefix..].to_vec()));
        }
        let was_long = before.as_ref().is_some_and(|image| image.values.iter().any(is_long));
        if taken.is_empty() && !was_long {
            return Ok(None);
        }
        let mut body = event.body()[..event.body().len() - rows.bytes_behind_columns()].to_vec();
        let columns = map.columns.len();
        let images: Vec<Vec<(usize, Option<Vec<u8>>)>> = before
            .iter()
            .chain(&after)
            .map(|image| image.values.iter().filter_map(|v| left(v, is_long(v), is_insert, map)).collect())
            .collect();
        for image in &images {
            body.extend(bits(columns, image.iter().map(|(column, _)| *column)));
        }
        for image in &images {
            let nulls =
                image.iter().enumerate().filter(|(_, (_, bytes))| bytes.is_none()).map(|(nth, _)| nth);
            body.extend(bits(image.len(), nulls));
            image.iter().flat_map(|(_, bytes)| bytes).for_each(|bytes| body.extend_from_slice(bytes));
        }
        Ok(Some(Self { event: Event::build(&event.header(), &body), taken }))
    }
}

impl<'a> Lying<'a> {
    /// The outer `None` for a malformed image, the inner for one that is not there.
    #[expect(clippy::option_option, reason = "outside: malformed; inside: not there")]
    fn of(image: Option<&'a [u8]>, has: Option<Vec<bool>>, map: &TableMap) -> Option<Option<Self>> {
        match (image, has) {
            (Some(image), Some(has)) => Self::read(image, &has, map).map(Some),
            _ => Some(None),
        }
    }

    fn read(image: &'a [u8], has: &[bool], map: &TableMap) -> Option<Self> {
        let present: Vec<usize> = (0..map.columns.len()).filter(|i| has[*i]).collect();
        let (nulls, mut rest) = image.split_at_checked(present.len().div_ceil(8))?;
        let mut values = Vec::with_capacity(present.len());
        for (nth, column) in present.into_iter().enumerate() {
            if nulls[nth / 8] >> (nth % 8) & 1 == 1 {
                values.push((column, None));
                continue;
            }
            let begin = rest;
            value::take(map.columns[column].kind, &mut rest)?;
            values.push((column, Some(&begin[..begin.len() - rest.len()])));
        }
        Some(Self { values })
    }
}

/// What is left of a value; `None` when it is left out of its image.
fn left(
    (column, bytes): &(usize, Option<&[u8]>),
    is_long: bool,
    is_insert: bool,
    map: &TableMap,
) -> Option<(usize, Option<Vec<u8>>)> {
    let Some(bytes) = bytes else { return Some((*column, None)) };
    if !is_long {
        return Some((*column, Some(bytes.to_vec())));
    }
    if !is_insert {
        return None;
    }
    let prefix = length_bytes(map.columns[*column].kind);
    let kept = &bytes[prefix..(prefix + KEPT).min(bytes.len())];
    let mut short = (kept.len() as u64).to_le_bytes()[..prefix].to_vec();
    short.extend_from_slice(kept);
    Some((*column, Some(short)))
}

fn length_bytes(kind: ColumnType) -> usize {
    match kind {
        ColumnType::Blob { length_bytes } => length_bytes.into(),
        _ => 0,
    }
}

/// A set of positions as bits.
fn bits(count: usize, set: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut bytes = vec![0; count.div_ceil(8)];
    set.for_each(|i| bytes[i / 8] |= 1 << (i % 8));
    bytes
}
