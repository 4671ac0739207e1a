//! Logs: on standard error, as text for people or as JSON for programs.
//!
//! One line per change of state. No line holds a value of a row ([`redact`]) or a secret, and what goes wrong again and
//! again is held back ([`repeats`]).

mod redact;
mod repeats;

use std::fmt;
use std::io;

use clap::{Args, ValueEnum};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::command::{WIPE, moves, takes_colour};
use crate::failure::Failure;
use redact::redact;
use repeats::Repeats;

/// How to log.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogOptions {
    /// The form of the log on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level, or directives such as info,relay=debug [default: info; for demo: warn]
    #[arg(long, global = true, env = "TWINLOG_LOG", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

impl LogOptions {
    /// The level, when none was asked for.
    const USUAL: &'static str = "info";

    /// The same options, as arguments for a child process.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        ["--log-format".into(), format.into(), "--log-level".into(), self.level(Self::USUAL).into()]
    }

    fn level<'a>(&'a self, usual: &'a str) -> &'a str {
        self.log_level.as_deref().unwrap_or(usual)
    }
}

/// Who logs, and to whom.
pub(crate) struct Speaker {
    /// The process's name, for example `relay eu`; stands in every event, since `up` mixes the logs of several.
    pub(crate) name: String,
    /// People watch something else on the terminal: only what they must know.
    pub(crate) quiet: bool,
}

/// Starts logging for this process.
pub(crate) fn start(options: &LogOptions, speaker: Speaker) -> Result<(), Failure> {
    let level = options.level(if speaker.quiet { "warn" } else { LogOptions::USUAL });
    let filter =
        EnvFilter::try_new(level).map_err(|e| Failure::usage(format!("not a log level: {level}: {e}")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let colour = takes_colour(&io::stderr());
    let started = match options.log_format {
        LogFormat::Text => logs
            .with_ansi(colour)
            .event_format(Named::new(speaker.name, Text(format::format().with_ansi(colour))))
            .try_init(),
        LogFormat::Json => logs
            .fmt_fields(JsonFields::new())
            .event_format(Named::new(speaker.name, Json(format::json().flatten_event(true))))
            .try_init(),
    };
    started.map_err(|e| Failure::failed(format!("cannot start logging: {e}")))
}

/// A format whose events carry the process's name.
struct Named<F> {
    name: String,
    format: F,
    repeats: Repeats,
    /// What stands before each line: on a terminal, what wipes the line that shows how far a copy is.
    wipe: &'static str,
}

impl<F> Named<F> {
    fn new(name: String, format: F) -> Self {
        let wipe = if moves(&io::stderr()) { WIPE } else { "" };
        Self { name, format, repeats: Repeats::default(), wipe }
    }
}

/// For people: the name stands before the line.
struct Text(Format);

/// For programs: the name is the first field of the object.
struct Json(Format<format::Json>);

impl<S, N> FormatEvent<S, N> for Named<Text>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(held) = self.repeats.shall(event) else { return Ok(()) };
        let mut line = String::new();
        self.format.0.format_event(context, Writer::new(&mut line), event)?;
        let line = redact(line.trim_end());
        let repeated = if held > 0 { format!(" repeated={held}") } else { String::new() };
        writeln!(out, "{}[{}] {line}{repeated}", self.wipe, self.name)
    }
}

impl<S, N> FormatEvent<S, N> for Named<Json>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(held) = self.repeats.shall(event) else { return Ok(()) };
        let mut object = String::new();
        self.format.0.format_event(context, Writer::new(&mut object), event)?;
        let object = redact(&object);
        let repeated = if held > 0 { format!("\"repeated\":{held},") } else { String::new() };
        let name = serde_json::Value::from(self.name.as_str());
        match object.strip_prefix('{') {
            Some(rest) => write!(out, "{}{{\"process\":{name},{repeated}{rest}", self.wipe),
            None => out.write_str(&object),
        }
    }
}
