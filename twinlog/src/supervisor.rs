//! Keeping child processes running: relays and appliers, as processes of this same executable.
//!
//! A child that ends is started again after a jittered, growing pause. When told to end, each child gets SIGTERM and
//! its standard input closed, then a deadline, then SIGKILL. A child ends by itself when its standard input closes, so
//! none stays behind when this process is killed. Which children there are may change while it runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rand::Rng;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

/// A little more than a child gives itself.
const END_DEADLINE: Duration = Duration::from_secs(25);

/// A child that ran this long was well: the next pause is short again.
const STEADY: Duration = Duration::from_secs(60);

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One child: what it is called, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildSpec {
    /// For logs.
    pub(crate) label: String,
    /// The arguments after the executable's name.
    pub(crate) args: Vec<String>,
}

/// Where children write what they have to say.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// To our own standard error.
    Inherited,
    /// To the end of this file.
    File(PathBuf),
}

/// Runs all children until shutdown; returns when every one has ended. `true`: none had to be killed.
pub(crate) async fn supervise(children: Vec<ChildSpec>, output: Output, shutdown: &Shutdown) -> bool {
    let (_unchanged, wanted) = watch::channel(children);
    supervise_changing(wanted, output, shutdown).await
}

/// The same, of whatever is wanted at the time: a child that no longer is ends, one that is new starts.
pub(crate) async fn supervise_changing(
    mut wanted: watch::Receiver<Vec<ChildSpec>>,
    output: Output,
    shutdown: &Shutdown,
) -> bool {
    let mut keepers = JoinSet::new();
    let mut kept: BTreeMap<String, (ChildSpec, CancellationToken)> = BTreeMap::new();
    let (mut clean, mut may_change) = (true, true);
    loop {
        let all = wanted.borrow_and_update().clone();
        kept.retain(|_, (spec, end)| {
            let stays = all.contains(spec);
            if !stays {
                tracing::info!(child = spec.label, "is not wanted any more");
                end.cancel();
            }
            stays
        });
        for spec in all {
            if !kept.contains_key(&spec.label) && !shutdown.token.is_cancelled() {
                let end = shutdown.token.child_token();
                keepers.spawn(keep(spec.clone(), output.clone(), end.clone(), shutdown.now.clone()));
                kept.insert(spec.label.clone(), (spec, end));
            }
        }
        loop {
            tokio::select! {
                biased;
                ended = keepers.join_next(), if !keepers.is_empty() => {
                    clean &= ended.is_some_and(|ended| ended.unwrap_or(false));
                }
                () = shutdown.token.cancelled(), if keepers.is_empty() => return clean,
                changed = wanted.changed(), if may_change => {
                    may_change = changed.is_ok();
                    break;
                }
            }
        }
    }
}

/// Keeps one child running until it is to end. `true`: it did not have to be killed.
async fn keep(spec: ChildSpec, output: Output, until: CancellationToken, now: CancellationToken) -> bool {
    let mut pause = Pause::default();
    loop {
        let started = Instant::now();
        match spawn(&spec, &output) {
            Ok(mut child) => {
                tracing::info!(child = spec.label, pid = child.id(), "started");
                // Taken out, because `wait` would close it, and the child ends when it is closed.
                let input = child.stdin.take();
                tokio::select! {
                    biased;
                    () = until.cancelled() => {
                        drop(input);
                        return end(&spec, child, &now).await;
                    }
                    status = child.wait() => said_ended(&spec, status),
                }
            }
            Err(error) => tracing::error!(child = spec.label, %error, "cannot be started"),
        }
        let wait = pause.after(started.elapsed()).mul_f64(rand::rng().random_range(0.5..1.5));
        tracing::info!(child = spec.label, milliseconds = wait.as_millis(), "will be started again");
        tokio::select! {
            biased;
            () = until.cancelled() => return true,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn said_ended(spec: &ChildSpec, status: io::Result<ExitStatus>) {
    match status {
        Ok(status) => tracing::error!(child = spec.label, %status, "ended by itself"),
        Err(error) => tracing::error!(child = spec.label, %error, "cannot be waited for"),
    }
}

fn spawn(spec: &ChildSpec, output: &Output) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&spec.args).arg("--exit-with-parent").stdin(Stdio::piped()).kill_on_drop(true);
    // Its own group: Ctrl-C on a terminal is for us, and we tell the children.
    command.process_group(0);
    if let Output::File(path) = output {
        let file = File::options().create(true).append(true).open(path)?;
        command.stdout(file.try_clone()?).stderr(file);
    }
    command.spawn()
}

/// Ends a child, whose input is closed, in good order, or by SIGKILL at the deadline. `true`: in good order.
async fn end(spec: &ChildSpec, mut child: Child, now: &CancellationToken) -> bool {
    if let Some(pid) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        // Fails only when it has ended, and then the wait below returns at once.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    tokio::select! {
        biased;
        _ = child.wait() => return true,
        () = now.cancelled() => {}
        () = tokio::time::sleep(END_DEADLINE) => {}
    }
    tracing::error!(child = spec.label, "did not end in time and is killed");
    let _ = child.kill().await;
    false
}

/// The pause before the next start: doubles up to a limit, and starts anew after a steady run.
#[derive(Debug, Default)]
struct Pause {
    last: Option<Duration>,
}

impl Pause {
    /// The pause after a run of this length, before jitter.
    fn after(&mut self, ran: Duration) -> Duration {
        let next = match self.last {
            Some(last) if ran < STEADY => (last * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FIRST_PAUSE, LONGEST_PAUSE, Pause, STEADY};

    #[test]
    fn pauses_grow_to_a_limit_and_start_anew_after_a_steady_run() {
        let mut pause = Pause::default();
        let short = Duration::from_secs(1);
        assert_eq!(pause.after(short), FIRST_PAUSE);
        assert_eq!(pause.after(short), FIRST_PAUSE * 2);
        for _ in 0..20 {
            pause.after(short);
        }
        assert_eq!(pause.after(short), LONGEST_PAUSE);
        assert_eq!(pause.after(STEADY), FIRST_PAUSE);
    }
}
