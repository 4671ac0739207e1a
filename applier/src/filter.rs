//! Which of a transaction's rows are in step.
//!
//! Leaving a table out of a transaction means leaving out its row events; the table maps of what is left stay.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use binlog::event::EventError;
use binlog::row::{RowsEvent, STATEMENT_END, TableMap};
use binlog::{Event, EventKind, Gtid, GtidSet};

use crate::{Names, Objects};

/// Schemas that are each server's own, whatever the patterns say.
const OWN: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// Says which tables are in step. Names are those of the link's `from`, unless it is said otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    objects: Objects,
    meta_schema: String,
    /// In step is only what is by these too, under the same name.
    within: Vec<Objects>,
    /// And what is not by these.
    beyond: Option<Objects>,
    /// What was in step up to a place of the source's log: tables that joined there have their rows before it otherwise.
    before: Vec<(GtidSet, Objects)>,
}

impl Filter {
    pub(crate) fn new(objects: Objects, meta_schema: &str) -> Self {
        let (within, before) = (Vec::new(), Vec::new());
        Self { objects, meta_schema: meta_schema.into(), within, beyond: None, before }
    }

    /// Of this, what is in step by those too.
    pub(crate) fn within(mut self, objects: Objects) -> Self {
        self.within.push(objects);
        self
    }

    /// Of this, what is not in step by those.
    pub(crate) fn beyond(mut self, objects: Objects) -> Self {
        self.beyond = Some(objects);
        self
    }

    /// For the source's transactions in each set: of this, what is in step by its objects too.
    pub(crate) fn since(mut self, before: Vec<(GtidSet, Objects)>) -> Self {
        self.before = before;
        self
    }

    /// For this transaction of the source.
    pub(crate) fn at(&self, gtid: &Gtid) -> Cow<'_, Self> {
        let is_before = |(upto, _): &&(GtidSet, Objects)| upto.contains(gtid);
        let narrower: Vec<_> =
            self.before.iter().filter(is_before).map(|(_, objects)| objects.clone()).collect();
        if narrower.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut narrow = Self { before: Vec::new(), ..self.clone() };
        narrow.within.extend(narrower);
        Cow::Owned(narrow)
    }

    /// What tables are called on both ends.
    pub(crate) fn names(&self) -> &Names {
        &self.objects.names
    }

    /// Is this table in step?
    pub(crate) fn keeps(&self, database: &str, table: &str) -> bool {
        if self.is_own(database) || !self.objects.has(database, table) {
            return false;
        }
        if self.within.is_empty() && self.beyond.is_none() {
            return true;
        }
        let place = self.objects.place_of(database, table);
        let has = |objects: &Objects| objects.place_of(database, table) == place;
        self.within.iter().all(has) && !self.beyond.as_ref().is_some_and(has)
    }

    /// Is this table of the link's `to` in step?
    pub(crate) fn keeps_there(&self, database: &str, table: &str) -> bool {
        !self.is_own(database) && self.objects.has_there(database, table)
    }

    /// Could a table of this database be in step?
    pub(crate) fn touches(&self, database: &str) -> bool {
        let touches = |objects: &Objects| objects.touches_database(database);
        !self.is_own(database) && touches(&self.objects) && self.within.iter().all(touches)
    }

    /// Is what belongs to the database as a whole in step?
    pub(crate) fn takes_in(&self, database: &str) -> bool {
        let already = |objects: &Objects| objects.touches_database(database);
        self.touches(database) && !self.beyond.as_ref().is_some_and(already)
    }

    fn is_own(&self, database: &str) -> bool {
        database == self.meta_schema || OWN.iter().any(|own| database.eq_ignore_ascii_case(own))
    }

    /// The table maps and row events of tables in step, under their names of the link's `to`, each statement ended by
    /// its last event. Row operations that do not cross are left out.
    pub(crate) fn apply(&self, events: &[Event]) -> Result<Vec<Event>, EventError> {
        let names = &self.objects.names;
        let mut sieve = Sieve::with_capacity(events.len());
        let mut tables = HashMap::new();
        for event in events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                let (database, table) = TableMap::names_of(event)?;
                if self.keeps(database, table) {
                    tables.insert(id, self.objects.operations_of(database, table));
                    sieve.keep_map(if names.is_empty() { event.clone() } else { names.rename_map(event)? });
                } else {
                    tables.remove(&id);
                    sieve.leave_out();
                }
                continue;
            }
            if tables.get(&id).is_some_and(|operations| operations.has(event.kind())) {
                sieve.keep_rows(event);
            } else {
                sieve.leave_out();
            }
            if sieve.ends_statement(event) {
                tables.clear();
            }
        }
        Ok(sieve.finish())
    }
}

/// Some of a transaction's events: each statement is still ended by its last row event, and no table map is without rows.
pub(crate) struct Sieve {
    kept: Vec<Event>,
    /// Where the last row event kept of the current statement is.
    last_rows: Option<usize>,
    has_left_out: bool,
}

impl Sieve {
    /// For so many events.
    pub(crate) fn with_capacity(events: usize) -> Self {
        Self { kept: Vec::with_capacity(events), last_rows: None, has_left_out: false }
    }

    pub(crate) fn keep_map(&mut self, map: Event) {
        self.kept.push(map);
    }

    pub(crate) fn keep_rows(&mut self, rows: &Event) {
        self.last_rows = Some(self.kept.len());
        self.kept.push(rows.clone());
    }

    /// A table map or row event is not kept.
    pub(crate) fn leave_out(&mut self) {
        self.has_left_out = true;
    }

    /// Ends the statement that this row event, kept or not, ends; does it? Table ids mean nothing behind that.
    pub(crate) fn ends_statement(&mut self, rows: &Event) -> bool {
        let ends = RowsEvent::flags_of(rows).unwrap_or(0) & STATEMENT_END != 0;
        if ends {
            end_statement(&mut self.kept, self.last_rows.take());
        }
        ends
    }

    /// What was kept.
    pub(crate) fn finish(mut self) -> Vec<Event> {
        if self.has_left_out {
            drop_unused_maps(&mut self.kept);
        }
        self.kept
    }
}

/// Marks the last row event of a statement as its end, when the one that was marked is left out.
fn end_statement(kept: &mut [Event], last_rows: Option<usize>) {
    let Some(last) = last_rows.and_then(|i| kept.get_mut(i)) else { return };
    if RowsEvent::flags_of(last).unwrap_or(0) & STATEMENT_END == 0 {
        *last = RowsEvent::ending_statement(last);
    }
}

/// A table map whose row events are all left out would only take locks: drop trailing ones of each statement.
fn drop_unused_maps(kept: &mut Vec<Event>) {
    let mut used = HashSet::new();
    let mut keep = vec![true; kept.len()];
    for (i, event) in kept.iter().enumerate().rev() {
        let id = TableMap::id_of(event).unwrap_or(u64::MAX);
        if event.kind() == EventKind::TableMap {
            keep[i] = used.contains(&id);
        } else {
            if RowsEvent::flags_of(event).unwrap_or(0) & STATEMENT_END != 0 {
                used.clear();
            }
            used.insert(id);
        }
    }
    let mut keep = keep.into_iter();
    kept.retain(|_| keep.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use binlog::event::Header;
    use binlog::row::{RowsEvent, STATEMENT_END, TableMap};
    use binlog::{Event, EventKind};

    use super::Filter;
    use crate::{Names, Objects, Operations, TablePatterns};

    fn event(kind: EventKind, body: &[u8]) -> Event {
        Event::build(&Header { timestamp: 0, kind, server_id: 1, log_pos: 0, flags: 0 }, body)
    }

    fn map(id: u8, database: &str, table: &str) -> Event {
        let mut body = vec![id, 0, 0, 0, 0, 0, 0, 0];
        for name in [database, table] {
            body.push(u8::try_from(name.len()).unwrap());
            body.extend_from_slice(name.as_bytes());
            body.push(0);
        }
        body.extend_from_slice(&[1, 3, 0, 0]);
        event(EventKind::TableMap, &body)
    }

    fn rows(id: u8, ends: bool) -> Event {
        event(EventKind::WriteRows, &[id, 0, 0, 0, 0, 0, u8::from(ends), 0, 2, 0, 1, 1, 0, 0, 0, 0, 7])
    }

    fn shape(events: &[Event]) -> Vec<String> {
        let one = |e: &Event| match e.kind() {
            EventKind::TableMap => TableMap::names_of(e).unwrap().1.to_owned(),
            _ => {
                let ends = RowsEvent::flags_of(e).unwrap() & STATEMENT_END != 0;
                format!("rows {}{}", TableMap::id_of(e).unwrap(), if ends { " end" } else { "" })
            }
        };
        events.iter().map(one).collect()
    }

    fn filter() -> Filter {
        Filter::new(objects(), "twinlog")
    }

    fn objects() -> Objects {
        Objects { tables: TablePatterns::parse(&["*.*", "!shop.tmp_*"]).unwrap(), ..Objects::default() }
    }

    #[test]
    fn operations_that_do_not_cross_are_left_out_and_the_statement_still_ends() {
        let operations = Operations { delete: false, ..Operations::default() };
        let filter = Filter::new(Objects { operations, ..objects() }, "twinlog");
        let delete = event(EventKind::DeleteRows, &[1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1, 0, 0, 0, 0, 7]);
        let events = [map(1, "shop", "a"), rows(1, false), delete.clone()];
        assert_eq!(shape(&filter.apply(&events).unwrap()), ["a", "rows 1 end"]);
        assert!(filter.apply(&[map(1, "shop", "a"), delete]).unwrap().is_empty());
    }

    #[test]
    fn table_maps_take_the_names_of_the_target() {
        let names = Names::new(&[("shop.a".to_owned(), "store.longer".to_owned())].into());
        let filter = Filter::new(Objects { names, ..objects() }, "twinlog");
        let kept = filter.apply(&[map(1, "shop", "a"), rows(1, true)]).unwrap();
        assert_eq!(TableMap::names_of(&kept[0]).unwrap(), ("store", "longer"));
        let (old, new) = (TableMap::parse(&map(1, "shop", "a")).unwrap(), TableMap::parse(&kept[0]).unwrap());
        assert_eq!(old.columns, new.columns);
        assert!(filter.keeps_there("store", "longer") && !filter.keeps_there("shop", "a"));
    }

    #[test]
    fn rows_of_tables_left_out_go_and_the_statement_still_ends() {
        let events = [
            map(1, "shop", "a"),
            map(2, "shop", "tmp_b"),
            rows(1, false),
            rows(2, true),
            map(3, "shop", "c"),
            rows(3, false),
            rows(3, true),
        ];
        assert_eq!(
            shape(&filter().apply(&events).unwrap()),
            ["a", "rows 1 end", "c", "rows 3", "rows 3 end"]
        );
    }

    #[test]
    fn a_table_that_joins_is_in_step_behind_the_place_where_it_joined() {
        let tables = |patterns: &[&str], names: &[(&str, &str)]| Objects {
            tables: TablePatterns::parse(patterns).unwrap(),
            names: Names::new(&names.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()),
            ..Objects::default()
        };
        let old = tables(&["shop.*", "!shop.u"], &[("shop.v", "shop.w")]);
        let new = tables(&["shop.*", "crm.*"], &[]);
        let filter = Filter::new(new, "twinlog");
        let joins = filter.clone().beyond(old.clone());
        for (table, joined) in [("t", false), ("u", true), ("v", true)] {
            assert_eq!(joins.keeps("shop", table), joined, "{table}");
        }
        assert!(joins.touches("shop") && !joins.takes_in("shop") && joins.takes_in("crm"));
        let waits = filter.clone().within(old.clone());
        assert!(waits.keeps("shop", "t") && !waits.keeps("shop", "u") && !waits.touches("crm"));

        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let gtid = |n: u64| format!("{uuid}:{n}").parse().unwrap();
        let filter = filter.since(vec![(format!("{uuid}:1-5").parse().unwrap(), old)]);
        assert!(filter.at(&gtid(5)).keeps("shop", "t") && !filter.at(&gtid(5)).keeps("shop", "u"));
        assert!(!filter.at(&gtid(5)).touches("crm"));
        assert!(filter.at(&gtid(6)).keeps("shop", "u") && filter.at(&gtid(6)).keeps("crm", "x"));
    }

    #[test]
    fn a_table_map_without_rows_left_is_dropped() {
        let events = [map(1, "shop", "a"), map(2, "shop", "tmp_b"), rows(2, true)];
        assert!(filter().apply(&events).unwrap().is_empty());
    }

    #[test]
    fn a_table_id_used_again_for_another_table_is_told_apart() {
        let events = [map(1, "shop", "a"), rows(1, true), map(1, "shop", "tmp_b"), rows(1, true)];
        assert_eq!(shape(&filter().apply(&events).unwrap()), ["a", "rows 1 end"]);
    }

    #[test]
    fn the_servers_own_schemas_and_the_meta_schema_are_never_in_step() {
        let filter = filter();
        for database in ["mysql", "SYS", "twinlog", "performance_schema"] {
            assert!(!filter.keeps(database, "t") && !filter.touches(database), "{database}");
        }
        assert!(filter.keeps("shop", "a") && filter.touches("shop"));
    }
}
