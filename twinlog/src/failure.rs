//! How a command that failed says so: `error:`, `cause:`, `remedy:`, and an exit code.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use applier::StatusError;
use twinlog::config::Faults;
use twinlog::local_mysql;

use crate::admin::unix_time;
use crate::logging::LogFormat;

/// A command that can't go on.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: String,
    causes: Vec<String>,
    remedy: Option<String>,
    interrupted: bool,
}

/// What the errors of relays and appliers can be asked: is it transient, definite, or must the process end?
pub(crate) trait Diagnosis: Error {
    /// What to do about it, for people.
    fn advice(&self) -> Option<String>;
    /// May it go away by itself?
    fn may_pass(&self) -> bool;
    /// Must the process end, because what it holds can no longer be trusted?
    fn must_end(&self) -> bool {
        false
    }
}

impl Failure {
    /// The command did not succeed: exit code 1.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self { code: 1, error: error.into(), causes: Vec::new(), remedy: None, interrupted: false }
    }

    /// The command can't be done as it was asked for: exit code 2.
    pub(crate) fn usage(error: impl Into<String>) -> Self {
        Self { code: 2, ..Self::failed(error) }
    }

    /// The command did not succeed because of this error and what lies behind it.
    pub(crate) fn from_error(doing: &str, error: &(dyn Error + 'static)) -> Self {
        Self { causes: chain(error), ..Self::failed(doing) }
    }

    /// An error of a relay or an applier, with its remedy.
    pub(crate) fn from_diagnosis(doing: &str, error: &(impl Diagnosis + 'static)) -> Self {
        let remedy = error.advice().or_else(|| connection_advice(error));
        Self { remedy, ..Self::from_error(doing, error) }
    }

    /// The command did not succeed, for a reason that a status told in one line.
    pub(crate) fn from_text(doing: &str, text: &str) -> Self {
        let (cause, remedy) = match text.strip_suffix(')').and_then(|t| t.split_once(" (remedy: ")) {
            Some((cause, remedy)) => (cause, remedy),
            None => {
                (text, "start what it needs, correct its address in the configuration, or open the way to it")
            }
        };
        Self { causes: vec![cause.into()], remedy: Some(remedy.into()), ..Self::failed(doing) }
    }

    /// The same, with what a person can do about it.
    #[must_use]
    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The command was told to stop before it was done.
    pub(crate) fn interrupted() -> Self {
        Self { interrupted: true, ..Self::failed("interrupted") }
    }

    /// The same, with what lies behind it.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// What lies behind it, in one line.
    pub(crate) fn reason(&self) -> String {
        self.causes.join(": ")
    }

    /// What a person can do about it.
    pub(crate) fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Was it told to stop?
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Says it on standard error, to people or in a program's log, and gives the exit code.
    pub(crate) fn report(&self, format: LogFormat) -> ExitCode {
        match format {
            LogFormat::Text => eprint!("{}", self.text()),
            LogFormat::Json => {
                let (causes, remedy) = (self.causes.join(": "), self.remedy.as_deref().unwrap_or_default());
                tracing::error!(error = self.error, causes, remedy, "ended with an error");
            }
        }
        ExitCode::from(self.code)
    }

    /// `error: …`, a `cause: …` per cause, `remedy: …`.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        for cause in &self.causes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "cause: {cause}");
        }
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(text, "remedy: {remedy}");
        }
        text
    }

    /// The same, as a status tells it. With `retry_in` it is one that may pass.
    pub(crate) fn status(&self, retry_in: Option<Duration>) -> StatusError {
        let parts = [&self.error].into_iter().chain(&self.causes);
        let since = unix_time();
        StatusError {
            message: parts.map(String::as_str).collect::<Vec<_>>().join(": "),
            remedy: self.remedy.clone(),
            transient: retry_in.is_some(),
            since,
            next_try_at: retry_in.map(|pause| since + pause.as_secs_f64()),
        }
    }

    /// The same in one line, for a log.
    pub(crate) fn line(&self) -> String {
        self.status(None).text()
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::usage(faults.to_string())
    }
}

impl From<local_mysql::Error> for Failure {
    fn from(error: local_mysql::Error) -> Self {
        let mut causes = chain(&error);
        let first = causes.remove(0);
        Self { causes, ..Self::failed(first) }
    }
}

/// The error and everything behind it, outermost first.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut at = error;
    while let Some(source) = at.source() {
        texts.push(source.to_string());
        at = source;
    }
    texts
}

/// What to do when a server can't be reached or refuses the login, wherever in the chain that stands.
fn connection_advice(error: &(dyn Error + 'static)) -> Option<String> {
    let mut at = Some(error);
    while let Some(error) = at {
        let advice = match error.downcast_ref::<wire::Error>() {
            Some(wire::Error::Connect { .. } | wire::Error::ConnectTimeout { .. }) => {
                "start the server, correct its address in the configuration, or open the way to it"
            }
            Some(wire::Error::Login { remedy, .. }) => remedy,
            Some(wire::Error::Auth { .. }) => "let the account use caching_sha2_password",
            Some(wire::Error::Tls { .. }) => {
                "make tls and tls_ca in the configuration fit the server's certificate"
            }
            Some(wire::Error::TlsFile { .. }) => "correct the file, or its path in the configuration",
            _ => {
                at = error.source();
                continue;
            }
        };
        return Some(advice.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Diagnosis, Failure};

    #[derive(Debug, thiserror::Error)]
    #[error("cannot reach 10.0.0.5:3306")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_reason_in_one_line_is_taken_apart_again() {
        let text = Failure::from_text("not started", "source: refused (remedy: start it)").text();
        assert_eq!(text, "error: not started\ncause: source: refused\nremedy: start it\n");
        assert!(
            Failure::from_text("not started", "source: refused")
                .text()
                .contains("cause: source: refused\nremedy: ")
        );
    }

    #[derive(Debug, thiserror::Error)]
    #[error("target: connecting")]
    struct Target(#[source] wire::Error);

    impl Diagnosis for Target {
        fn advice(&self) -> Option<String> {
            None
        }

        fn may_pass(&self) -> bool {
            true
        }
    }

    #[test]
    fn an_error_without_advice_has_that_of_the_connection() {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let failure = Failure::from_diagnosis(
            "link eu-us did not start",
            &Target(wire::Error::Connect { address: "db:3306".into(), source }),
        );
        let text = failure.text();
        for part in ["link eu-us", "target: connecting", "db:3306", "refused", "remedy: start the server"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_failure_shows_the_error_its_causes_and_the_remedy() {
        let mut failure =
            Failure::from_error("relay eu did not start", &Outer(io::Error::other("connection refused")));
        failure.remedy = Some("start MySQL".into());
        assert_eq!(
            failure.text(),
            "error: relay eu did not start\ncause: cannot reach 10.0.0.5:3306\ncause: connection refused\nremedy: start MySQL\n"
        );
        assert_eq!(
            failure.line(),
            "relay eu did not start: cannot reach 10.0.0.5:3306: connection refused (remedy: start MySQL)"
        );
    }
}
