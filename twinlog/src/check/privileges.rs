//! What the accounts may do, found out by doing it: grants are not read, for roles, partial revokes and providers
//! make them say more or less than holds.
//!
//! Each probe is a statement that changes nothing whether it is allowed or not: what is asked of a table is asked
//! of one that does not exist, and then "no such table" is the answer of a server that would have allowed it.

use binlog::GtidSet;
use rand::Rng;
use std::time::Duration;
use uuid::Uuid;
use wire::{ConnectOptions, Connection, DumpFlags, ReplicaOptions};

use super::sql;

/// No such table; to be refused for that, a statement must have been allowed.
const NOWHERE: &str = "twinlog_check_no_such_table";
/// How long the first event of a dump may take.
const FIRST_EVENT: Duration = Duration::from_secs(10);

/// Needed only where DDL comes under tagged GTIDs, which is for the source to say.
pub(crate) const TAG: &str = "TRANSACTION_GTID_TAG";

/// What is wanted of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The item.
    pub(crate) item: &'static str,
    /// The privilege.
    pub(crate) privilege: &'static str,
    /// On what: `*.*`, `` `shop`.* ``.
    pub(crate) on: String,
    /// Who.
    pub(crate) account: String,
    /// Without it nothing works; else something is missed.
    pub(crate) needed: bool,
    /// What the server said when it refused.
    pub(crate) refused: Option<String>,
}

/// What a link or relay does with an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Databases in step.
    pub(crate) databases: Vec<String>,
    /// Tables in step, for databases whose rights are given table by table.
    pub(crate) tables: Vec<(String, String)>,
    /// DDL is applied.
    pub(crate) ddl: bool,
    /// Databases in which an initial copy makes tables and views.
    pub(crate) makes_in: Vec<String>,
    /// Those of them that it fills, too.
    pub(crate) fills: Vec<String>,
    /// Databases whose views an initial copy reads.
    pub(crate) shows: Vec<String>,
    pub(crate) meta_schema: String,
    /// Tables are read for more than checks: an initial copy.
    pub(crate) copies: bool,
}

/// Probes the account that reads.
pub(crate) async fn reader(connection: &mut Connection, uses: &Uses) -> Result<Vec<Probed>, wire::Error> {
    let mut probes = Probes::of(connection).await?;
    probes
        .try_one("reader_privileges", "REPLICATION CLIENT", "*.*", log_status(connection), connection)
        .await?;
    for database in &uses.databases {
        let probe = Probe { item: "reader_select", privilege: "SELECT", needed: uses.copies };
        probes
            .rows(connection, &probe, database, &uses.tables, |table| {
                format!("SELECT 1 FROM {table} LIMIT 0")
            })
            .await?;
    }
    for database in &uses.shows {
        let on = format!("{}.*", sql::name(database));
        let statement = format!("SHOW CREATE VIEW {}", sql::table(database, NOWHERE));
        let refused = try_it(connection, &statement).await?;
        probes.note(&Probe { item: "reader_structure", privilege: "SHOW VIEW", needed: false }, &on, refused);
    }
    Ok(probes.done)
}

/// Probes the account that writes.
pub(crate) async fn writer(connection: &mut Connection, uses: &Uses) -> Result<Vec<Probed>, wire::Error> {
    let mut probes = Probes::of(connection).await?;
    probes
        .try_one("writer_privileges", "REPLICATION CLIENT", "*.*", log_status(connection), connection)
        .await?;
    // Wrong in itself, which is told only to whom it would be allowed.
    for statement in ["BINLOG ''", "SET SESSION rbr_exec_mode = 'STRICT'", "SET gtid_next = 'AUTOMATIC'"] {
        probes.try_one("writer_privileges", "REPLICATION_APPLIER", "*.*", statement, connection).await?;
    }
    if uses.ddl {
        let statement = "SET gtid_next = 'AUTOMATIC:twinlog'";
        probes.try_one("writer_privileges", TAG, "*.*", statement, connection).await?;
        connection.execute("SET gtid_next = DEFAULT").await.or_else(refused).map(drop)?;
    }
    for database in &uses.databases {
        for (privilege, statement) in ROWS {
            let probe = Probe { item: "writer_rows", privilege, needed: true };
            probes.rows(connection, &probe, database, &uses.tables, statement).await?;
        }
        if uses.ddl {
            probes.definitions(connection, "writer_ddl", database, &DEFINITIONS).await?;
        }
    }
    for database in &uses.makes_in {
        let made = ["CREATE", "REFERENCES", "CREATE VIEW"];
        probes.definitions(connection, "writer_structure", database, &made).await?;
    }
    for database in &uses.fills {
        // Without it indexes of large tables are there before the rows, and the copy takes longer.
        let statement = format!("ALTER TABLE {} ADD KEY a (a)", sql::table(database, NOWHERE));
        let refused = try_it(connection, &statement).await?;
        let probe = Probe { item: "writer_structure", privilege: "ALTER", needed: false };
        probes.note(&probe, &format!("{}.*", sql::name(database)), refused);
    }
    let meta = format!("{}.*", sql::name(&uses.meta_schema));
    let nowhere = sql::table(&uses.meta_schema, NOWHERE);
    for (privilege, statement) in ROWS.into_iter().chain([("CREATE", create as Statement)]) {
        probes.try_one("writer_meta", privilege, &meta, &statement(&nowhere), connection).await?;
    }
    Ok(probes.done)
}

/// What is tried of a table.
type Statement = fn(&str) -> String;

/// What applying rows takes, and a statement that needs it.
const ROWS: [(&str, Statement); 4] = [
    ("SELECT", |table| format!("SELECT 1 FROM {table} LIMIT 0")),
    ("INSERT", |table| format!("EXPLAIN INSERT INTO {table} () VALUES ()")),
    ("UPDATE", |table| format!("EXPLAIN UPDATE {table} SET twinlog_check_no_such_column = 1")),
    ("DELETE", |table| format!("EXPLAIN DELETE FROM {table}")),
];

/// What carrying DDL takes.
const DEFINITIONS: [&str; 6] = ["CREATE", "ALTER", "DROP", "INDEX", "REFERENCES", "CREATE VIEW"];

/// Never succeeds: the table it copies does not exist.
fn create(table: &str) -> String {
    format!("CREATE TABLE {table} LIKE {}", table.replace(NOWHERE, "twinlog_check_no_such_table_either"))
}

pub(crate) fn log_status(connection: &Connection) -> &'static str {
    if connection.server_version() >= wire::ServerVersion::new(8, 2, 0) {
        "SHOW BINARY LOG STATUS"
    } else {
        "SHOW MASTER STATUS"
    }
}

struct Probe {
    item: &'static str,
    privilege: &'static str,
    needed: bool,
}

struct Probes {
    account: String,
    done: Vec<Probed>,
}

impl Probes {
    async fn of(connection: &mut Connection) -> Result<Self, wire::Error> {
        let user = connection.query_rows("SELECT CURRENT_USER()").await?.single_text()?;
        let account = match user.rsplit_once('@') {
            Some((name, host)) => format!("{}@{}", sql::text(name), sql::text(host)),
            None => user,
        };
        Ok(Self { account, done: Vec::new() })
    }

    async fn try_one(
        &mut self,
        item: &'static str,
        privilege: &'static str,
        on: &str,
        statement: &str,
        connection: &mut Connection,
    ) -> Result<(), wire::Error> {
        let refused = try_it(connection, statement).await?;
        self.note(&Probe { item, privilege, needed: true }, on, refused);
        Ok(())
    }

    /// One that covers the whole database; where it has none of these, table by table.
    async fn rows(
        &mut self,
        connection: &mut Connection,
        probe: &Probe,
        database: &str,
        tables: &[(String, String)],
        statement: impl Fn(&str) -> String,
    ) -> Result<(), wire::Error> {
        let on = format!("{}.*", sql::name(database));
        let Some(refused) = try_it(connection, &statement(&sql::table(database, NOWHERE))).await? else {
            self.note(probe, &on, None);
            return Ok(());
        };
        let own: Vec<_> = tables.iter().filter(|(d, _)| d == database).collect();
        let mut missing = Vec::new();
        for (database, table) in &own {
            let name = sql::table(database, table);
            if let Some(refused) = try_it(connection, &statement(&name)).await? {
                missing.push((name, refused));
            }
        }
        if missing.len() == own.len() {
            self.note(probe, &on, Some(refused));
        } else if missing.is_empty() {
            self.note(probe, &on, None);
        } else {
            missing.into_iter().for_each(|(name, refused)| self.note(probe, &name, Some(refused)));
        }
        Ok(())
    }

    /// What DDL takes in a database.
    async fn definitions(
        &mut self,
        connection: &mut Connection,
        item: &'static str,
        database: &str,
        wanted: &[&str],
    ) -> Result<(), wire::Error> {
        let on = format!("{}.*", sql::name(database));
        let table = sql::table(database, NOWHERE);
        let other = sql::table(database, "twinlog_check_no_such_parent");
        let statements = [
            ("CREATE", create(&table), true),
            ("ALTER", format!("ALTER TABLE {table} ADD COLUMN a INT"), true),
            ("DROP", format!("DROP TABLE {table}"), true),
            ("INDEX", format!("CREATE INDEX a ON {table} (a)"), true),
            (
                "REFERENCES",
                format!("CREATE TABLE {table} (a INT, KEY (a), FOREIGN KEY (a) REFERENCES {other} (a))"),
                true,
            ),
            ("CREATE VIEW", format!("CREATE VIEW {table} AS SELECT 1 FROM {other}"), false),
        ];
        // A table whose parent is missing can't be made while foreign keys are looked at.
        connection.execute("SET SESSION foreign_key_checks = ON").await?;
        for (privilege, statement, needed) in statements.into_iter().filter(|(p, ..)| wanted.contains(p)) {
            let refused = try_it(connection, &statement).await?;
            self.note(&Probe { item, privilege, needed }, &on, refused);
        }
        Ok(())
    }

    fn probed(&self, probe: &Probe, refused: Option<String>) -> Probed {
        let Probe { item, privilege, needed } = *probe;
        Probed { item, privilege, on: String::new(), account: self.account.clone(), needed, refused }
    }

    /// Notes it; several statements may stand for one privilege.
    fn note(&mut self, probe: &Probe, on: &str, refused: Option<String>) {
        let known = self
            .done
            .iter_mut()
            .find(|p| p.privilege == probe.privilege && p.on == on && p.item == probe.item);
        match known {
            Some(known) => known.refused = known.refused.take().or(refused),
            None => self.done.push(Probed { on: on.into(), ..self.probed(probe, refused) }),
        }
    }
}

/// `Some` with the server's words when it is refused for lack of a privilege. Any other error is the answer of a
/// server that would have allowed it.
async fn try_it(connection: &mut Connection, statement: &str) -> Result<Option<String>, wire::Error> {
    match connection.query(statement).await {
        Ok(_) => Ok(None),
        Err(wire::Error::Server(error)) if is_denied(error.code) => Ok(Some(error.to_string())),
        Err(wire::Error::Server(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A server's refusal is an answer; a broken connection is not.
fn refused<T: Default>(error: wire::Error) -> Result<T, wire::Error> {
    if matches!(error, wire::Error::Server(_)) { Ok(T::default()) } else { Err(error) }
}

/// Access to a server, a database, a table, a column, an operation or a tag denied.
fn is_denied(code: u16) -> bool {
    matches!(code, 1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1410 | 6038)
}

/// Registers as a replica and asks for what comes behind all the server has: its first event is the proof.
pub(crate) async fn dump(
    options: &ConnectOptions,
    session: &mut Connection,
    executed: &GtidSet,
) -> Result<Probed, wire::Error> {
    let probes = Probes::of(session).await?;
    let mut connection = Connection::connect(options).await?;
    connection.set_answer_timeout(Some(FIRST_EVENT));
    let replica = ReplicaOptions {
        // Ours for a moment, and nobody's.
        server_id: rand::rng().random_range(1 << 31..u32::MAX),
        uuid: Uuid::new_v4(),
        report_host: "twinlog check".into(),
        report_port: 0,
        heartbeat_period: FIRST_EVENT / 3,
        semi_sync: false,
        user_variables: Vec::new(),
    };
    let attempt = async {
        connection.register_replica(&replica).await?;
        let flags = DumpFlags::NON_BLOCK | DumpFlags::HEARTBEAT_V2;
        let mut stream = connection.dump_gtid(&executed.to_wire(), flags).await?;
        stream.next().await.map(drop)
    };
    let refused = match attempt.await {
        Ok(()) | Err(wire::Error::EndOfStream) => None,
        Err(wire::Error::Server(error)) if is_denied(error.code) => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    let probe = Probe { item: "reader_dump", privilege: "REPLICATION SLAVE", needed: true };
    Ok(Probed { on: "*.*".into(), ..probes.probed(&probe, refused) })
}

#[cfg(test)]
mod tests {
    use super::create;

    #[test]
    fn a_probe_for_create_can_never_make_a_table() {
        let statement = create("`shop`.`twinlog_check_no_such_table`");
        assert_eq!(
            statement,
            "CREATE TABLE `shop`.`twinlog_check_no_such_table` LIKE `shop`.`twinlog_check_no_such_table_either`"
        );
    }
}
