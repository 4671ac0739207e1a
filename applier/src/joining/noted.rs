//! The meta table `objects`: what was in step when the link's last round began, and up to where in the source's log
//! something else was.

use std::collections::BTreeMap;

use binlog::GtidSet;
use serde::{Deserialize, Serialize};
use wire::Connection;

use crate::origin::LinkKey;
use crate::{Error, Names, Objects, TablePatterns, sql};

/// The table's name in the meta schema.
pub(crate) const TABLE: &str = "objects";
/// Its columns.
pub(crate) const COLUMNS: &str = "\
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  noted LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  noted_at TIMESTAMP(6) NOT NULL";

/// What is noted of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    now: Written,
    /// What was in step for the source's transactions up to a set, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stage {
    upto: String,
    objects: Written,
}

/// Objects as they are written down: which row operations cross is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    tables: Vec<String>,
    #[serde(default)]
    of_target: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rename: BTreeMap<String, String>,
}

impl Written {
    fn of(objects: &Objects) -> Self {
        Self {
            tables: objects.tables.texts(),
            of_target: objects.patterns_are_of_target,
            rename: objects.names.entries(),
        }
    }

    fn read(&self) -> Option<Objects> {
        Some(Objects {
            tables: TablePatterns::parse(&self.tables).ok()?,
            names: Names::new(&self.rename),
            patterns_are_of_target: self.of_target,
            ..Objects::default()
        })
    }
}

impl Noted {
    /// Nothing else was in step before.
    pub(super) fn of(objects: &Objects) -> Self {
        Self { now: Written::of(objects), before: Vec::new() }
    }

    /// Is it this that was in step?
    pub(super) fn is(&self, objects: &Objects) -> bool {
        self.now == Written::of(objects)
    }

    /// What was in step.
    pub(super) fn now(&self) -> Result<Objects, Error> {
        self.now.read().ok_or_else(malformed)
    }

    /// What was in step up to which of the source's transactions.
    pub(super) fn before(&self) -> Result<Vec<(GtidSet, Objects)>, Error> {
        let stage = |stage: &Stage| Some((stage.upto.parse().ok()?, stage.objects.read()?));
        self.before.iter().map(|s| stage(s).ok_or_else(malformed)).collect()
    }

    /// Other objects from now on: what was in step is so for the source's transactions in `upto`. What lies in `applied`
    /// does not come again.
    pub(super) fn then(self, objects: &Objects, upto: &GtidSet, applied: &GtidSet) -> Self {
        let mut before = self.before;
        before.push(Stage { upto: upto.to_string(), objects: self.now });
        before.retain(|stage| stage.upto.parse().is_ok_and(|upto: GtidSet| !applied.contains_all(&upto)));
        Self { now: Written::of(objects), before }
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts can always be written")
    }

    /// The statement that writes it down.
    pub(super) fn statement(&self, schema: &str, link: &LinkKey) -> String {
        format!(
            "REPLACE INTO {} VALUES ({}, {}, NOW(6))",
            sql::table(schema, TABLE),
            sql::text(&link.text()),
            sql::text(&self.text())
        )
    }
}

/// What is noted of a link into this server; `None` of one that an earlier version began, or that has not begun.
pub(super) async fn read(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
) -> Result<Option<Noted>, Error> {
    let failed = Error::target("reading what was in step");
    let query =
        format!("SELECT noted FROM {} WHERE link = {}", sql::table(schema, TABLE), sql::text(&link.text()));
    let rows = match connection.query_rows(query).await {
        Ok(rows) => rows,
        // A meta schema of an earlier version, or none yet.
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let text = row.text("noted").map_err(failed)?;
    serde_json::from_str(&text).map(Some).map_err(|_| malformed())
}

fn malformed() -> Error {
    Error::NotApplicable {
        gtid: "checkpoint".into(),
        what: format!("the table {TABLE} of the meta schema has a malformed row"),
        remedy: "restore the meta schema, or begin anew with twinlog link reset".into(),
    }
}

#[cfg(test)]
mod tests {
    use binlog::GtidSet;

    use super::Noted;
    use crate::{Names, Objects, TablePatterns};

    fn objects(patterns: &[&str], rename: &[(&str, &str)]) -> Objects {
        let rename = rename.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Objects {
            tables: TablePatterns::parse(patterns).unwrap(),
            names: Names::new(&rename),
            ..Objects::default()
        }
    }

    fn set(upto: u64) -> GtidSet {
        format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{upto}").parse().unwrap()
    }

    #[test]
    fn what_was_in_step_is_read_as_it_was_written_and_goes_once_nothing_of_its_time_can_come_again() {
        let (one, two) = (objects(&["shop.*", "!shop.u"], &[("shop", "store")]), objects(&["shop.*"], &[]));
        let noted = Noted::of(&one).then(&two, &set(5), &set(3));
        let noted: Noted = serde_json::from_str(&serde_json::to_string(&noted).unwrap()).unwrap();
        assert!(noted.is(&two) && !noted.is(&one));
        assert_eq!(noted.before().unwrap(), [(set(5), one.clone())]);
        let later = noted.clone().then(&one, &set(9), &set(4));
        assert_eq!(later.before().unwrap(), [(set(5), one.clone()), (set(9), two.clone())]);
        let later = noted.then(&one, &set(9), &set(6));
        assert_eq!(later.before().unwrap(), [(set(9), two)]);
        assert_eq!(later.now().unwrap(), one);
    }
}
