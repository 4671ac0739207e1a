//! One server: logged in to with each account that uses it, and asked all at once.
//!
//! Everything that is asked is asked here, in a fixed number of questions; the items judge what was answered and ask
//! nothing. A server that does not answer is a finding of its own, and its other items are skipped.

use std::time::{Duration, Instant};

use binlog::GtidSet;
use twinlog::config::File;
use wire::{ConnectOptions, Connection};

use super::checkpoints::{self, Meta};
use super::facts::{Facts, LogStatus, Replica, VARIABLES, Variables};
use super::privileges::{self, Uses};
use super::report::{About, Finding};
use super::schema::Schema;
use super::{clock, schema_read, sql};
use crate::failure::Failure;

/// How long an answer may take: a data dictionary of many tables takes its time.
const ANSWER: Duration = Duration::from_secs(60);

/// How often, and after which pause, a server is asked for what it has sent and may not have executed yet.
const LAG_TRIES: usize = 30;
const LAG_PAUSE: Duration = Duration::from_millis(100);

/// What a server is there for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) region: String,
    /// As the relay, or an applier without one, logs in.
    pub(crate) reader: Option<ConnectOptions>,
    /// As the applier logs in.
    pub(crate) writer: Option<ConnectOptions>,
    /// It is the first of its region's addresses.
    pub(crate) first: bool,
}

impl Place {
    /// Its address.
    pub(crate) fn address(&self) -> &str {
        self.reader.as_ref().or(self.writer.as_ref()).map_or("", |options| options.address.as_str())
    }

    /// Its region is read.
    pub(crate) fn is_source(&self) -> bool {
        self.reader.is_some()
    }

    /// Its region is written into.
    pub(crate) fn is_target(&self) -> bool {
        self.writer.is_some()
    }
}

/// A server after it was asked.
pub(crate) struct Server {
    pub(crate) place: Place,
    /// What the logins and the questions came to.
    pub(crate) findings: Vec<Finding>,
    /// What it says; `None` when nobody could ask.
    pub(crate) facts: Option<Facts>,
    pub(crate) schema: Option<Schema>,
    pub(crate) meta: Option<Meta>,
    session: Option<Connection>,
}

impl Server {
    /// Whom findings are about.
    pub(crate) fn about(&self) -> About {
        About::server(&self.place.region, self.place.address())
    }

    /// `SHOW CREATE TABLE`, for what another region lacks.
    pub(crate) async fn create_table(&mut self, database: &str, table: &str) -> Option<String> {
        let query = format!("SHOW CREATE TABLE {}", sql::table(database, table));
        let rows = self.session.as_mut()?.query_rows(query).await.ok()?;
        let text = rows.first()?.text_at(1).ok()?;
        // The name alone would make it in whatever database is current.
        let name = format!("CREATE TABLE {}", sql::name(table));
        text.strip_prefix(&name).map(|rest| format!("CREATE TABLE {}{rest}", sql::table(database, table)))
    }
}

impl Server {
    /// What of `set` this server has not executed. A transaction is sent to relays a moment before it enters
    /// `gtid_executed`, so what is missing is asked for again.
    pub(crate) async fn lacks(&mut self, set: &GtidSet) -> GtidSet {
        let Some(facts) = &self.facts else { return GtidSet::new() };
        let mut lacks = set.minus(&facts.executed);
        for _ in 0..LAG_TRIES {
            let Some(session) = self.session.as_mut().filter(|_| !lacks.is_empty()) else { return lacks };
            let answer = session.query_rows("SELECT @@GLOBAL.gtid_executed").await;
            let executed = answer.ok().and_then(|rows| rows.single_text().ok()?.parse::<GtidSet>().ok());
            // A server that went away in the middle is no proof that it lacks anything.
            let Some(executed) = executed else { return GtidSet::new() };
            lacks = set.minus(&executed);
            if !lacks.is_empty() {
                tokio::time::sleep(LAG_PAUSE).await;
            }
        }
        lacks
    }
}

/// Logs in and asks. `uses` says what of; the writer's databases are those the reader's sessions see.
pub(crate) async fn ask(place: Place, file: &File, uses: Uses, steady: Instant) -> Server {
    let about = About::server(&place.region, place.address());
    let mut findings = Vec::new();
    let mut reader = log_in(&about, "reader_login", place.reader.as_ref(), &mut findings).await;
    let mut writer = log_in(&about, "writer_login", place.writer.as_ref(), &mut findings).await;
    let mut server = Server { place, findings, facts: None, schema: None, meta: None, session: None };
    match gather(&mut server, file, uses, steady, [reader.as_mut(), writer.as_mut()]).await {
        Ok(()) => {}
        Err(error) => {
            let failure = Failure::from_error("it stopped answering", &error);
            server
                .findings
                .push(about.fail("answers", failure.line()).advice("look at the server's error log"));
        }
    }
    server.session = writer.or(reader);
    server
}

async fn log_in(
    about: &About,
    item: &'static str,
    options: Option<&ConnectOptions>,
    findings: &mut Vec<Finding>,
) -> Option<Connection> {
    let options = options?;
    match Connection::connect(options).await {
        Ok(mut connection) => {
            connection.set_answer_timeout(Some(ANSWER));
            let under = if connection.is_encrypted() { "under TLS" } else { "in plain TCP" };
            let what = if is_relay(&connection) { "relay" } else { "MySQL" };
            let found = format!("{}, {what} {}, {under}", options.user, connection.server_version_text());
            findings.push(about.pass(item, found));
            Some(connection)
        }
        Err(error) => {
            let failure = Failure::from_diagnosis("no login", &error);
            let advice =
                failure.remedy().unwrap_or("correct mysql.address, or open the way to it").to_owned();
            findings.push(about.fail(item, failure.reason()).wanted("a login").advice(advice));
            None
        }
    }
}

async fn gather(
    server: &mut Server,
    file: &File,
    mut uses: Uses,
    steady: Instant,
    [mut reader, mut writer]: [Option<&mut Connection>; 2],
) -> Result<(), wire::Error> {
    let Some(any) = reader.as_deref_mut().or(writer.as_deref_mut()) else { return Ok(()) };
    if is_relay(any) {
        // It answers a few forms of questions only; its own source is checked by the file that names it.
        return Ok(());
    }
    let mut facts = facts(any, steady).await?;
    for session in [reader.as_deref_mut(), writer.as_deref_mut()].into_iter().flatten() {
        if facts.log_status.is_none() {
            facts.log_status = log_status(session).await?;
        }
        if facts.replicas.is_none() {
            facts.replicas = replicas(session).await?;
        }
        // A reader may see no table at all, and then the writer's view is the one that counts.
        let seen = schema_read::read(session, file, &server.place.region).await?;
        if server.schema.as_ref().is_none_or(|known| known.tables.len() <= seen.tables.len()) {
            server.schema = Some(seen);
        }
    }
    uses.add_tables(server.schema.as_ref());
    if let (Some(session), Some(options)) = (reader, &server.place.reader) {
        facts.probed.extend(privileges::reader(session, &uses).await?);
        match privileges::dump(options, session, &facts.executed).await {
            Ok(probed) => facts.probed.push(probed),
            Err(error) => {
                let failure = Failure::from_error("a dump of its binary log does not open", &error);
                server.findings.push(server.about().fail("reader_dump", failure.line()));
            }
        }
    }
    if let Some(session) = writer {
        server.meta = Some(checkpoints::read(session, &uses.meta_schema).await?);
        facts.probed.extend(privileges::writer(session, &uses).await?);
    }
    server.facts = Some(facts);
    Ok(())
}

impl Uses {
    fn add_tables(&mut self, schema: Option<&Schema>) {
        let Some(schema) = schema else { return };
        self.tables = schema.tables.keys().cloned().collect();
        for (database, _) in &self.tables {
            if !self.databases.contains(database) {
                self.databases.push(database.clone());
            }
        }
    }
}

/// Only what a start looks at: variables and filters.
pub(crate) async fn facts_at_start(session: &mut Connection) -> Result<Facts, wire::Error> {
    let mut facts = variables(session).await?;
    facts.log_status = log_status(session).await?;
    Ok(facts)
}

async fn variables(session: &mut Connection) -> Result<Facts, wire::Error> {
    let names = sql::list(VARIABLES.iter().copied());
    let rows = session.query_rows(format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")).await?;
    let variables = rows.iter().map(|row| Ok((row.text("Variable_name")?, row.text("Value")?)));
    let variables: Variables = variables.collect::<Result<_, wire::Error>>()?;
    let threads = session.query_rows("SHOW GLOBAL STATUS WHERE Variable_name = 'Threads_connected'").await?;
    Ok(Facts {
        version: session.server_version(),
        version_text: session.server_version_text().to_owned(),
        uuid: variables.get("server_uuid").and_then(|uuid| uuid.parse().ok()),
        variables,
        threads_connected: threads.first().and_then(|row| row.parse("Value").ok()),
        ..Facts::default()
    })
}

async fn facts(session: &mut Connection, steady: Instant) -> Result<Facts, wire::Error> {
    let facts = variables(session).await?;
    let sets = session
        .query_rows("SELECT @@GLOBAL.gtid_executed AS executed, @@GLOBAL.gtid_purged AS purged")
        .await?;
    let set = |name: &str| -> Result<GtidSet, wire::Error> {
        let text = sets.first().map(|row| row.text(name)).transpose()?.unwrap_or_default();
        text.parse().map_err(|_| wire::Error::Protocol { what: format!("no GTID set in {name}: {text}") })
    };
    let (executed, purged) = (set("executed")?, set("purged")?);
    let (clock, trip) = clock::measure(session, steady).await?;
    Ok(Facts { executed, purged, clock, trip, ..facts })
}

async fn log_status(session: &mut Connection) -> Result<Option<LogStatus>, wire::Error> {
    let statement = privileges::log_status(session);
    let Some(rows) = allowed(session.query_rows(statement).await)? else { return Ok(None) };
    let Some(row) = rows.first() else { return Ok(Some(LogStatus::default())) };
    let text = |name| Ok::<_, wire::Error>(row.optional_text(name)?.unwrap_or_default());
    Ok(Some(LogStatus { do_db: text("Binlog_Do_DB")?, ignore_db: text("Binlog_Ignore_DB")? }))
}

async fn replicas(session: &mut Connection) -> Result<Option<Vec<Replica>>, wire::Error> {
    let since = wire::ServerVersion::new(8, 0, 22);
    let statement = if session.server_version() >= since { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
    let Some(rows) = allowed(session.query_rows(statement).await)? else { return Ok(None) };
    let replica = |row: wire::RowRef<'_>| {
        let uuid = row.text("Replica_UUID").or_else(|_| row.text("Slave_UUID"))?;
        Ok(Replica {
            server_id: row.parse("Server_Id")?,
            host: row.optional_text("Host")?.unwrap_or_default(),
            uuid,
        })
    };
    rows.iter().map(replica).collect::<Result<_, _>>().map(Some)
}

/// A refusal is an answer: nobody may see it. What breaks the connection is not.
fn allowed<T>(answer: Result<T, wire::Error>) -> Result<Option<T>, wire::Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(wire::Error::Server(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Is it a relay that answers there, and no server?
pub(crate) fn is_relay(session: &Connection) -> bool {
    session.server_version_text().ends_with("-twinlog")
}
