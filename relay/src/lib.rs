//! From a source through the relay log to its downstreams.
//!
//! ```text
//! source ─▶ upstream, ingest ─▶ writer (one thread) ─▶ relay log ─▶ serve ─▶ downstreams
//!                                                          ▲           ▲
//!                                                      retention    listen, session, answers
//! ```
//! To its source a relay is one more replica, to its downstreams a source. It never sees a target.
//! [`Relay::build`] opens the log, binds the listener and asks the source; [`Relay::run`] runs until it is told
//! to stop or meets what trying again can't mend. A relay that has lost its source goes on serving.

mod abreast;
mod answers;
mod begin;
mod beside;
mod choose;
mod config;
mod echo;
mod error;
mod feed;
mod frames;
mod guard;
mod hear;
mod ingest;
mod inlet;
mod listen;
#[cfg(test)]
mod listen_tests;
mod live;
mod outgoing;
mod request;
mod retention;
mod seek;
mod serve;
#[cfg(test)]
mod serve_tests;
mod session;
mod shared;
#[cfg(test)]
mod stage;
mod statement;
mod status;
mod tail;
mod upstream;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;

use storage::{LogWriter, RelayLog};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::LoginOptions;

use live::Live;
use shared::Shared;

pub use config::{Config, Limits, Start};
pub use error::Error;
pub use live::{KeptFor, LogStatus, SegmentStatus};
pub use status::{DownstreamStatus, Status};

/// A relay that is built: its log is open, its listener bound, its source answered and fits, or is away.
pub struct Relay {
    config: Config,
    log: RelayLog,
    writer: LogWriter,
    listener: TcpListener,
    address: SocketAddr,
    login: LoginOptions,
    progress: status::Progress,
    live: Live,
}

/// Reads a running relay's state; cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusHandle {
    progress: status::Progress,
    log: RelayLog,
    live: Live,
}

impl StatusHandle {
    /// Follows the log's durable end.
    pub fn durable(&self) -> tokio::sync::watch::Receiver<storage::DurableEnd> {
        self.log.durable()
    }

    /// The log, segment by segment. As [`StatusHandle::get`].
    pub fn log(&self) -> LogStatus {
        self.live.log_status(&self.progress.get().region, &self.log)
    }

    /// Takes over what can be changed while the relay runs: how long and how much is kept, and for which links.
    /// Nothing else of the configuration is looked at.
    pub fn reconfigure(&self, config: &Config) {
        self.live.reconfigure(config, &self.log);
    }

    /// The state now. Does not block for long: it asks the log's catalogue, not the disk.
    pub fn get(&self) -> Status {
        let (segments, end) = (self.log.segments(), self.log.durable_end().position);
        let oldest = segments.iter().map(|segment| segment.first_commit).find(|at| *at > 0);
        #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 52 bits")]
        let oldest_segment_at = oldest.unwrap_or_default() as f64 / 1e6;
        Status {
            gtid_durable: self.log.gtids_durable().to_string(),
            gtid_purged: self.log.gtids_purged().to_string(),
            log_bytes: self.log.size_on_disk(),
            segments: segments.len() as u64,
            oldest_segment_at,
            durable_segment: end.segment,
            durable_offset: end.offset,
            ..self.progress.get()
        }
    }
}

impl Relay {
    /// Binds the listener, checks the source, opens the log (which blocks for a moment). A source that is away is
    /// waited for while it runs, where the log has something to serve.
    ///
    /// # Errors
    ///
    /// What makes the relay impossible, each with its [`Error::remedy`]; transient ones when the source can't
    /// be reached.
    pub async fn build(config: Config) -> Result<Self, Error> {
        if config.user.is_empty() || config.password.expose().is_empty() {
            return Err(Error::Anonymous);
        }
        let (listener, address) = listen(&config).await?;
        let source = upstream::Upstream::connect_first(&config.sources, config.server_id).await;
        let (source, away) = match source {
            Ok(source) => (Some(source), None),
            Err(error) if error.is_transient() => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let tls = match &config.tls {
            Some(files) => Some(files.load().await.map_err(Error::Tls)?),
            None => None,
        };
        let mut options = storage::Options::new(&config.sync, &config.region);
        options.max_size = config.max_size;
        let dir = config.dir.clone();
        let opened = tokio::task::spawn_blocking(move || RelayLog::open(dir, options)).await;
        let (log, writer) = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        match away {
            Some(error) if log.is_fresh() => return Err(error),
            Some(error) => tracing::warn!(error = describe(&error), "source is away: serving what there is"),
            None => {}
        }
        config.links.iter().for_each(|link| log.register(link));
        let login = LoginOptions {
            require_tls: tls.is_some() && !address.ip().is_loopback(),
            tls,
            ..shared::login_options(&config, version(source.as_ref(), &log))
        };
        let progress = status::Progress::new(&config.region);
        if let Some(source) = &source {
            progress.source(source);
        }
        progress.limits(config.max_size, config.retain);
        progress.listening(&address.to_string(), &log.server_uuid().to_string());
        let live = Live::new(&config);
        Ok(Self { config, log, writer, listener, address, login, progress, live })
    }

    /// Where downstreams attach.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle to its state.
    pub fn status(&self) -> StatusHandle {
        StatusHandle { progress: self.progress.clone(), log: self.log.clone(), live: self.live.clone() }
    }

    /// Runs until `shutdown` is cancelled: what came is flushed first. A source that is lost is waited for with
    /// back-off, and served is meanwhile what there is. When pulling meets what trying again can't mend, serving
    /// ends too, and the error is given.
    ///
    /// # Errors
    ///
    /// The first error that trying again can't mend; [`Error::must_end`] ones end the process.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, log, writer, listener, address, login, progress, live } = self;
        let stop = shutdown.child_token();
        let shared = Shared::new(&config, login, address, &log, &progress, &live, &stop);
        let asked = shared.asked.clone();
        let thread = writer::spawn(writer, shared.tail.clone(), progress.clone());
        let (to_writer, writer_ended) = thread.map_err(|source| {
            let path = config.dir.clone();
            Error::Log(storage::Error::Io { action: "start the log's thread for", path, source })
        })?;
        let mut tasks = JoinSet::new();
        let ingest =
            ingest::Ingest { config, log: log.clone(), to_writer, asked, progress: progress.clone() };
        tasks.spawn(listen_to_end(listener, Arc::new(shared)));
        tasks.spawn(retention::run(log, live, stop.clone()));
        tasks.spawn(ingest.run(stop.clone()));
        tasks.spawn(async move { writer_ended.await.unwrap_or(Ok(())) });
        let result = finish(&mut tasks, &stop).await;
        if let Err(error) = &result {
            progress.state("failed");
            progress.error(with_remedy(error, error.remedy()));
        }
        result
    }
}

/// Binds the listener. Plain TCP beyond loopback is never a default: passwords are proved, not sent, but what follows
/// is everybody's to read.
async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if config.tls.is_none() && !address.ip().is_loopback() {
        if !config.plain_beyond_loopback {
            return Err(Error::PlainBeyondLoopback { address });
        }
        tracing::warn!(%address, "plain TCP beyond loopback, as relay.tls = \"disabled\" says");
    }
    Ok((listener, address))
}

async fn listen_to_end(listener: TcpListener, shared: Arc<Shared>) -> Result<(), Error> {
    listen::run(listener, shared).await;
    Ok(())
}

/// Waits for all tasks; the first to end ends the others. The writer's thread ends when ingest has let go of it.
async fn finish(tasks: &mut JoinSet<Result<(), Error>>, stop: &CancellationToken) -> Result<(), Error> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        stop.cancel();
        let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        if result.is_ok() {
            result = ended;
        }
    }
    result
}

/// The version told to downstreams, who decide by it what they may ask: the source's, marked.
fn version(source: Option<&upstream::Upstream>, log: &RelayLog) -> String {
    const MARK: &str = "-twinlog";
    let version = match source {
        Some(source) => source.says.version.clone(),
        None => logged_version(log).unwrap_or_default(),
    };
    if version.ends_with(MARK) { version } else { version + MARK }
}

/// The version of the server that the end of the log is from.
fn logged_version(log: &RelayLog) -> Option<String> {
    let reader = log.reader_even_if_ahead(&log.gtids_durable()).ok()?;
    let format = binlog::FormatDescription::parse(&reader.head()?.format).ok()?;
    Some(format.server_version().to_owned())
}

/// Runs what blocks on the disk where it may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// An error as the status tells it: with what a person can do.
pub(crate) fn with_remedy(error: &dyn std::error::Error, remedy: Option<String>) -> String {
    let text = describe(error);
    match remedy {
        Some(remedy) => format!("{text} (remedy: {remedy})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use wire::Secret;

    use crate::{Config, Error, Limits, Relay, stage};

    fn config() -> Config {
        stage::config("nowhere".into(), Limits::default())
    }

    async fn refused(config: Config) -> Error {
        Relay::build(config).await.err().expect("it has no source, so it is refused")
    }

    #[tokio::test]
    async fn plain_tcp_beyond_loopback_is_refused_unless_it_was_said_by_hand() {
        let open = Config { listen: "0.0.0.0:0".into(), ..config() };
        let error = refused(open.clone()).await;
        assert!(matches!(error, Error::PlainBeyondLoopback { .. }), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("relay.tls_cert")));
        let error = refused(Config { plain_beyond_loopback: true, ..open }).await;
        assert!(matches!(error, Error::Source { .. }), "{error}");
        let error = refused(config()).await;
        assert!(matches!(error, Error::Source { .. }), "loopback needs nothing said: {error}");
    }

    #[tokio::test]
    async fn an_account_without_name_or_password_is_refused() {
        for config in
            [Config { user: String::new(), ..config() }, Config { password: Secret::default(), ..config() }]
        {
            let error = refused(config).await;
            assert!(matches!(error, Error::Anonymous) && error.remedy().is_some(), "{error}");
        }
    }
}
