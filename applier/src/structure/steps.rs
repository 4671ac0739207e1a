//! The steps of a link's structure, written down before the first is run: `<meta>.structure`.

use binlog::{Gtid, GtidSet};
use wire::Connection;

use super::link_uuid;
use super::plan::Making;
use super::read::{Kind, Session};
use crate::executed::executed;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::{Error, sql};

/// The table's name in the meta schema.
pub(crate) const TABLE: &str = "structure";

/// Its columns. Step 0 of a link is where its definitions were read: what the source had executed, and on a line of its own
/// every table in step.
pub(crate) const COLUMNS: &str = "\
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  step INT UNSIGNED NOT NULL,
  object VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  gtid VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  inside VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  sql_mode VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  collation VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  time_zone VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  statement LONGBLOB NOT NULL,
  made_at TIMESTAMP(6) NULL,
  PRIMARY KEY (link, step)";

/// Steps that are written in one statement: they are a few KiB each.
const AT_ONCE: usize = 100;

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Planned,
    /// It is run when its table's rows are copied.
    Behind,
    /// The same, of a plan before the one that is written down.
    Waits,
    Made,
}

impl State {
    const ALL: [Self; 4] = [Self::Planned, Self::Behind, Self::Waits, Self::Made];

    fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Behind => "behind",
            Self::Waits => "waits",
            Self::Made => "made",
        }
    }

    /// An earlier version knew two words.
    fn read(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.word() == word).unwrap_or(Self::Planned)
    }
}

/// A statement that makes an object.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) step: u32,
    pub(super) object: String,
    pub(super) gtid: Gtid,
    pub(super) state: State,
    pub(super) inside: Option<String>,
    pub(super) session: Session,
    pub(super) statement: Vec<u8>,
}

/// All that a link makes.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// What for: [`super::Task::of`].
    pub(super) of: String,
    /// What the source had executed when the definitions were read.
    pub(super) begin: GtidSet,
    /// Every table in step then.
    pub(super) tables: Vec<Name>,
    pub(super) steps: Vec<Step>,
}

impl Planned {
    /// Is it for this? See [`super::Task`].
    pub(super) fn is_for(&self, of: &str, behind: &GtidSet) -> bool {
        self.of == of && self.begin.contains_all(behind)
    }

    /// Has a step been made? Else the definitions are read anew, and a person may have mended something.
    pub(super) fn has_begun(&self) -> bool {
        self.steps.iter().any(|step| step.state == State::Made)
    }

    /// What is run when rows are copied: of this plan, if a table of it can be there, and of those before.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = Step> {
        let has_begun = self.has_begun();
        self.steps
            .into_iter()
            .filter(move |step| step.state == State::Waits || has_begun && step.state == State::Behind)
    }
}

/// What was written down for this link.
pub(super) async fn load(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
) -> Result<Option<Planned>, Error> {
    let failed = Error::target("reading what is to be made");
    let query = format!(
        "SELECT step, object, gtid, state, inside, sql_mode, client, collation, time_zone, statement FROM {} \
         WHERE link = {} ORDER BY step",
        sql::table(schema, TABLE),
        sql::text(&link.text())
    );
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let (mut begin, mut steps) = (None, Vec::new());
    for row in rows.iter() {
        let malformed =
            |_| failed(wire::Error::Invalid { what: "the structure table has a malformed row".into() });
        let text = |name: &str| row.text(name).map_err(&failed);
        let statement = row.bytes("statement").map_err(&failed)?.cloned().unwrap_or_default();
        if row.parse::<u32>("step").map_err(&failed)? == 0 {
            let text = String::from_utf8_lossy(&statement);
            // An earlier version did not say which tables: its plan is run to its end, and then it is planned anew.
            let (of, (set, tables)) = match text.split_once('\n') {
                Some(told) => (row.text("object").map_err(&failed)?, told),
                None => (String::new(), (&*text, "[]")),
            };
            let tables: Vec<Name> = serde_json::from_str(tables).map_err(|_| malformed(()))?;
            begin = Some((of, set.parse().map_err(|_| malformed(()))?, tables));
            continue;
        }
        steps.push(Step {
            step: row.parse("step").map_err(&failed)?,
            object: text("object")?,
            gtid: text("gtid")?.parse().map_err(|_| malformed(()))?,
            state: State::read(&text("state")?),
            inside: row.optional_text("inside").map_err(&failed)?,
            session: Session {
                sql_mode: text("sql_mode")?,
                client: text("client")?,
                collation: text("collation")?,
                time_zone: text("time_zone")?,
            },
            statement: statement.to_vec(),
        });
    }
    Ok(begin.map(|(of, begin, tables)| Planned { of, begin, tables, steps }))
}

/// Does any step wait for rows?
pub(super) async fn any_waits(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
) -> Result<bool, Error> {
    let query = format!(
        "SELECT 1 FROM {} WHERE link = {} AND state IN ('{}', '{}') LIMIT 1",
        sql::table(schema, TABLE),
        sql::text(&link.text()),
        State::Behind.word(),
        State::Waits.word()
    );
    let rows = connection.query_rows(query).await.map_err(Error::target("reading what is to be made"))?;
    Ok(!rows.rows.is_empty())
}

/// Writes down what is to be made, in one transaction, in place of what was planned before: of that, what waits for rows
/// stays if it has begun.
pub(super) async fn write(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    planned: Planned,
    statements: Vec<Making>,
) -> Result<Planned, Error> {
    let failed = Error::target("writing down what is to be made");
    let (table, key) = (sql::table(schema, TABLE), sql::text(&link.text()));
    let before = load(connection, schema, link).await?;
    let waiting: Vec<Step> = before.into_iter().flat_map(Planned::into_waiting).collect();
    let first = next_number(connection, link, &waiting).await?;
    let behind = waiting.iter().map(|step| step.step).max().unwrap_or(0);
    let mut steps = Vec::with_capacity(statements.len());
    for (step, (number, making)) in (behind + 1..).zip((first..).zip(statements)) {
        let gtid = format!("{}:{number}", link_uuid(link)).parse();
        steps.push(Step {
            step,
            object: making.object(),
            gtid: gtid
                .map_err(|_| failed(wire::Error::Invalid { what: "a GTID number is too large".into() }))?,
            state: if making.kind == Kind::Indexes { State::Behind } else { State::Planned },
            inside: making.inside,
            session: making.session,
            statement: making.statement,
        });
    }
    let tables = serde_json::to_string(&planned.tables).expect("texts can always be written");
    let (of, begun) = (sql::text(&planned.of), sql::bytes(format!("{}\n{tables}", planned.begin).as_bytes()));
    let mut all = vec![
        "BEGIN".to_owned(),
        format!("DELETE FROM {table} WHERE link = {key}{}", but(&waiting)),
        format!("UPDATE {table} SET state = '{}' WHERE link = {key}", State::Waits.word()),
        format!(
            "INSERT INTO {table} VALUES ({key}, 0, {of}, '', 'made', NULL, '', '', '', '', {begun}, NOW(6))"
        ),
    ];
    for some in steps.chunks(AT_ONCE) {
        let rows: Vec<String> = some.iter().map(|step| values(&key, step)).collect();
        all.push(format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
    }
    all.push("COMMIT".into());
    for statement in all {
        connection.execute(statement).await.map_err(&failed)?;
    }
    Ok(Planned { steps, ..planned })
}

/// The condition of not being one of these.
fn but(steps: &[Step]) -> String {
    let numbers: Vec<String> = steps.iter().map(|step| step.step.to_string()).collect();
    if numbers.is_empty() { String::new() } else { format!(" AND step NOT IN ({})", numbers.join(", ")) }
}

fn values(key: &str, step: &Step) -> String {
    let inside = step.inside.as_deref().map_or("NULL".into(), sql::text);
    let Session { sql_mode, client, collation, time_zone } = &step.session;
    format!(
        "({key}, {}, {}, '{}', '{}', {inside}, {}, {}, {}, {}, {}, NULL)",
        step.step,
        sql::text(&step.object),
        step.gtid,
        step.state.word(),
        sql::text(sql_mode),
        sql::text(client),
        sql::text(collation),
        sql::text(time_zone),
        sql::bytes(&step.statement)
    )
}

/// Notes that a step has run.
pub(super) async fn note_made(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    step: &Step,
) -> Result<(), Error> {
    let note = format!(
        "UPDATE {} SET state = 'made', made_at = NOW(6) WHERE link = {} AND step = {}",
        sql::table(schema, TABLE),
        sql::text(&link.text()),
        step.step
    );
    connection.execute(note).await.map_err(Error::target("noting what was made")).map(drop)
}

/// The first number of the link's uuid that the target has not executed, nor will by what waits, nor any before it: a link
/// that was reset or deleted counts on.
async fn next_number(connection: &mut Connection, link: &LinkKey, waiting: &[Step]) -> Result<u64, Error> {
    let executed = executed(connection).await.map_err(Error::target("asking what it has executed"))?;
    let uuid = link_uuid(link);
    let own = executed.restricted_to(|found| found == uuid);
    let ends = own.sequences().flat_map(|(_, numbers)| numbers.runs().iter().map(|(_, end)| *end));
    // A run's end is not in it.
    let ends = ends.chain(waiting.iter().map(|step| step.gtid.gno + 1));
    Ok(ends.max().unwrap_or(1))
}
