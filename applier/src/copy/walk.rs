//! The ranges of keys that are to be copied, one after the other.
//!
//! A range that was copied before is left out, however the copy before this one ended: what lies between two chunks that
//! are done is walked anew.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use wire::Connection;

use super::config::Load;
use super::doubt::Doubt;
use super::load::{DoneChunk, TableState};
use super::order::SortKey;
use super::table::SourceTable;
use super::throttle::Throttle;
use crate::Error;
use crate::conflict::seen::Seen;
use crate::verify::key::{KeyValue, Range};

/// Numbers of neighbouring chunks are so far apart: an interrupted copy that is cut otherwise finds room between them.
const STEP: u64 = 1 << 20;
/// Bytes of a chunk, about: a chunk is held in memory, and its locks until it is committed.
const CHUNK_BYTES: u64 = 8 << 20;

/// A chunk to be copied.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) table: Arc<SourceTable>,
    pub(crate) number: u64,
    pub(crate) range: Range,
    /// Instead of a range: keys in doubt, to be settled.
    pub(crate) keys: Option<Keys>,
}

/// Keys in doubt, and what the source's region had seen of the others before they were read.
#[derive(Clone, Debug)]
pub(crate) struct Keys(pub(crate) Vec<(SortKey, Doubt)>, pub(crate) Arc<Seen>);

/// Part of a table that is not copied: behind chunk `number`, before chunk `limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    range: Range,
    number: u64,
    limit: u64,
}

/// Walks the tables to their ends.
pub(crate) async fn walk(
    mut source: Connection,
    tables: Vec<(Arc<SourceTable>, TableState)>,
    limits: &Load,
    mut throttle: Throttle,
    to: &mpsc::Sender<Wanted>,
) -> Result<(), Error> {
    for (table, state) in tables {
        if state.done {
            continue;
        }
        let rows = rows_of(&table, limits.batch_rows);
        for gap in gaps(&state.chunks) {
            let (mut after, mut number) = (gap.range.after, gap.number);
            loop {
                throttle.admit(rows, &mut source).await?;
                number += if gap.limit == u64::MAX { STEP } else { 1 };
                let rest = Range { after: after.clone(), upto: gap.range.upto.clone() };
                // The last number before the next chunk that is done takes all that is left.
                let end = match &table.key {
                    Some(_) if number + 1 < gap.limit => boundary(&mut source, &table, &rest, rows).await?,
                    _ => None,
                };
                let is_last = end.is_none();
                let upto = end.or_else(|| gap.range.upto.clone());
                let range = Range { after: after.take(), upto: upto.clone() };
                let wanted = Wanted { table: table.clone(), number, range, keys: None };
                if !throttle.hand_over(wanted, to, &mut source).await? {
                    return Ok(());
                }
                if is_last {
                    break;
                }
                after = upto;
            }
        }
    }
    Ok(())
}

fn rows_of(table: &SourceTable, most: u64) -> u64 {
    let row_bytes = table.bytes.checked_div(table.rows).unwrap_or(0).max(1);
    (CHUNK_BYTES / row_bytes).clamp(1, most.max(1))
}

/// What lies between the chunks that are done, and behind the last.
fn gaps(done: &[DoneChunk]) -> Vec<Gap> {
    let (mut gaps, mut after, mut number) = (Vec::new(), None, 0);
    let mut ended = false;
    for chunk in done {
        if chunk.range.after != after {
            let range = Range { after: after.take(), upto: chunk.range.after.clone() };
            gaps.push(Gap { range, number, limit: chunk.number });
        }
        ended = chunk.range.upto.is_none();
        after.clone_from(&chunk.range.upto);
        number = chunk.number;
    }
    if !ended {
        gaps.push(Gap { range: Range { after, upto: None }, number, limit: u64::MAX });
    }
    gaps
}

/// The key of the row that is `rows` rows behind the range's begin; `None` when there are fewer.
async fn boundary(
    source: &mut Connection,
    table: &SourceTable,
    range: &Range,
    rows: u64,
) -> Result<Option<KeyValue>, Error> {
    let Some(key) = &table.key else { return Ok(None) };
    let failed = Error::source("looking for a chunk's end");
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
        key.key.select(),
        table.from(),
        key.key.within(range),
        key.key.order(),
        rows.saturating_sub(1)
    );
    let answer = source.query_rows(sql).await.map_err(|error| table.unless_gone(failed(error)))?;
    let Some(row) = answer.rows.into_iter().next() else { return Ok(None) };
    let parts: Option<Vec<Bytes>> = row.into_iter().collect();
    let end =
        parts.map(KeyValue).ok_or_else(|| failed(wire::Error::Invalid { what: "a NULL in a key".into() }))?;
    // The gap's own end: what is left of it is one chunk.
    Ok(Some(end).filter(|end| Some(end) != range.upto.as_ref()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{DoneChunk, Gap, KeyValue, Range, gaps};

    fn key(n: &'static str) -> Option<KeyValue> {
        Some(KeyValue(vec![Bytes::from_static(n.as_bytes())]))
    }

    fn done(number: u64, after: Option<KeyValue>, upto: Option<KeyValue>) -> DoneChunk {
        DoneChunk { number, range: Range { after, upto } }
    }

    fn gap(after: Option<KeyValue>, upto: Option<KeyValue>, number: u64, limit: u64) -> Gap {
        Gap { range: Range { after, upto }, number, limit }
    }

    #[test]
    fn what_is_not_done_is_walked_and_nothing_else() {
        assert_eq!(gaps(&[]), [gap(None, None, 0, u64::MAX)]);
        assert_eq!(gaps(&[done(1, None, key("5"))]), [gap(key("5"), None, 1, u64::MAX)]);
        let torn = [done(2, key("5"), key("9")), done(4, key("20"), key("30"))];
        let expected =
            [gap(None, key("5"), 0, 2), gap(key("9"), key("20"), 2, 4), gap(key("30"), None, 4, u64::MAX)];
        assert_eq!(gaps(&torn), expected);
        assert_eq!(gaps(&[done(1, None, key("5")), done(2, key("5"), None)]), []);
        assert_eq!(gaps(&[done(3, None, None)]), []);
    }
}
