//! `twinlog link`: what people want of a link. Told to its process where that answers, else written into the target,
//! where the process finds it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use applier::{Order, Orders, State, Wish};
use binlog::Gtid;
use tokio::time::{Instant, sleep};
use twinlog::config::{File, applier_config};

use crate::admin::client::{self, Peer, Refused};
use crate::admin::{Asked, AtStake, Done, Kind, ProcessStatus, said_deleted, said_skipped, unix_time};
use crate::cli::{LinkAction, LinkArgs, LinkTarget};
use crate::failure::Failure;

/// How long is looked whether a running link has done it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for what is still being checked.
const CHECKING: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Exit code 0 when it is done, 1 when it can't be, 2 when nobody can be asked whether it is meant.
pub(crate) async fn run(args: LinkArgs) -> Result<ExitCode, Failure> {
    let (action, target, gtid, yes) = match args.action {
        LinkAction::Start(target) => ("start", target, None, false),
        LinkAction::Stop(target) => ("stop", target, None, false),
        LinkAction::Pause(target) => ("pause", target, None, false),
        LinkAction::Resume(target) => ("resume", target, None, false),
        LinkAction::Reset { target, yes } => ("reset", target, None, yes),
        LinkAction::Delete { target, yes } => ("delete", target, None, yes),
        LinkAction::Skip { target, gtid } => ("skip", target, Some(gtid), false),
    };
    let file = super::load(&target.file)?;
    if !file.links.contains_key(&target.link) {
        let known: Vec<&str> = file.links.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!(
            "no link of this name: {}; there are {}",
            target.link,
            known.join(", ")
        )));
    }
    let loses = matches!(action, "reset" | "delete");
    if loses && !yes && !io::stdin().is_terminal() {
        let failure = Failure::usage(format!("link {action} asks first, and there is no terminal to ask on"));
        return Err(failure.with_remedy("add --yes to do it without being asked"));
    }
    let desk = Desk { file: &file, target: &target };
    if loses {
        let at_stake = desk.at_stake().await?;
        eprint!("{}", lost(action, &target.link, &at_stake));
        if !yes && !shall_it(action, &target.link) {
            return Err(Failure::failed("nothing was changed"));
        }
    }
    let said = desk.order(action, gtid).await?;
    println!("link {}: {said}", target.link);
    Ok(ExitCode::SUCCESS)
}

/// Where orders are given.
struct Desk<'a> {
    file: &'a File,
    target: &'a LinkTarget,
}

impl Desk<'_> {
    fn peer(&self) -> Peer {
        Peer::of(self.file, Kind::Applier, &self.target.link)
    }

    async fn orders(&self) -> Result<Orders, Failure> {
        let config = applier_config(self.file, &self.target.link)?;
        Orders::open(&config).await.map_err(|error| {
            let doing = format!(
                "link {} has no process that answers, and its target can't be asked",
                self.target.link
            );
            Failure::from_diagnosis(&doing, &error)
        })
    }

    async fn at_stake(&self) -> Result<AtStake, Failure> {
        let path = format!("/api/v1/links/{}/at-stake", self.target.link);
        if let Ok(at_stake) = self.peer().get(&path).await {
            return Ok(at_stake);
        }
        let stakes = self.orders().await?.stakes().await;
        stakes.map(AtStake::from).map_err(|e| Failure::from_diagnosis("what would be lost can't be told", &e))
    }

    /// Gives the order, and says what became of it.
    async fn order(&self, action: &str, gtid: Option<Gtid>) -> Result<String, Failure> {
        let LinkTarget { link, reason, .. } = self.target;
        let asked = Asked {
            by: asker(),
            reason: reason.clone().unwrap_or_default(),
            gtid: gtid.as_ref().map(Gtid::to_string),
            yes: true,
        };
        let ordered_at = unix_time();
        match client::order(self.file, link, action, &asked).await {
            Ok(Done { said, .. }) => self.becomes(action, said, ordered_at).await,
            Err(Refused::Answered { message, remedy, code }) if code != 503 => {
                let failure = Failure::failed(message);
                Err(match remedy {
                    Some(remedy) => failure.with_remedy(remedy),
                    None => failure,
                })
            }
            // Nobody there, or not yet at its target.
            Err(_) => {
                let order = Order { by: asked.by, reason: asked.reason };
                let said = self.write_down(action, gtid, &order).await?;
                Ok(format!("{said} (its process does not answer here: it is written down in the target)"))
            }
        }
    }

    async fn write_down(&self, action: &str, gtid: Option<Gtid>, order: &Order) -> Result<String, Failure> {
        let failed = |e: applier::Error| {
            Failure::from_diagnosis(&format!("link {}: {action} failed", self.target.link), &e)
        };
        let mut orders = self.orders().await?;
        Ok(match (action, gtid) {
            ("skip", Some(gtid)) => said_skipped(orders.skip(&gtid, order).await.map_err(failed)?),
            ("reset", _) => {
                orders.reset(order).await.map_err(failed)?;
                "it begins anew with its next start".into()
            }
            ("delete", _) => said_deleted(&orders.delete(order).await.map_err(failed)?),
            ("pause", _) => {
                orders.wish(Wish::Paused, order).await.map_err(failed)?;
                "is to pause".into()
            }
            ("stop", _) => {
                orders.wish(Wish::Stopped, order).await.map_err(failed)?;
                "is to stop".into()
            }
            _ => {
                orders.wish(Wish::Run, order).await.map_err(failed)?;
                "is to run".into()
            }
        })
    }

    /// Waits until the process shows that it has done what was ordered after `ordered_at`.
    async fn becomes(&self, action: &str, said: String, ordered_at: f64) -> Result<String, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(ProcessStatus::Applier(status)) = self.peer().status().await {
                let told = || format!("{}{}", status.state, because(status.last_error.as_deref()));
                match (action, status.state) {
                    ("pause", State::Paused) | ("stop", State::Stopped) => return Ok(told()),
                    ("delete", State::Stopped) | ("reset" | "skip", _) => return Ok(said),
                    ("start" | "resume", State::Failed) if status.since > ordered_at => {
                        return Err(Failure::failed(format!("link {}: {}", self.target.link, told())));
                    }
                    // Servers may be away for long.
                    ("start" | "resume", State::Checking)
                        if deadline - Instant::now() < PATIENCE - CHECKING =>
                    {
                        return Ok(told());
                    }
                    (
                        "start" | "resume",
                        State::Structure | State::Copying | State::CatchingUp | State::Running,
                    ) => return Ok(told()),
                    _ => {}
                }
            }
            if Instant::now() >= deadline {
                let failure = Failure::failed(format!(
                    "it is written down, and not done within {} s",
                    PATIENCE.as_secs()
                ));
                return Err(failure.with_remedy("look at twinlog status: what is in hand is committed first"));
            }
            sleep(LOOK).await;
        }
    }
}

fn because(error: Option<&str>) -> String {
    error.map(|error| format!(": {error}")).unwrap_or_default()
}

/// `user@host`.
fn asker() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// What a person is told before it is gone.
fn lost(action: &str, link: &str, at_stake: &AtStake) -> String {
    if !at_stake.born {
        return format!(
            "link {link} has not begun: the target holds nothing of it but what was said about it\n"
        );
    }
    let mut text = format!("link {link} forgets what it has applied: {}\n", sets(&at_stake.gtid_applied));
    match (&at_stake.gtid_to_come, at_stake.transactions_to_come) {
        (Some(_), Some(0)) => text += "nothing of its source is still to come\n",
        (Some(set), count) => {
            let count = count.unwrap_or(0);
            text += &format!(
                "{count} transactions of its source are still to come and will never be applied, unless the initial \
                 copy brings their rows: {}\n",
                sets(set)
            );
        }
        (None, _) => {
            text += "its source does not answer: what is still to come will never be applied, unless the initial copy \
                     brings it\n";
        }
    }
    let conflicts = at_stake.conflicts;
    let open = at_stake.open_conflicts;
    text += &match action {
        "reset" if open > 0 => format!(
            "{open} conflicts that wait for a person are closed undecided; all {conflicts} stay recorded\n"
        ),
        "reset" => format!("its {conflicts} recorded conflicts stay\n"),
        _ => format!("its {conflicts} recorded conflicts are deleted, {open} of them undecided\n"),
    };
    text
}

fn sets(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

/// Asks; anything but a clear yes is no.
fn shall_it(action: &str, link: &str) -> bool {
    let mut answer = String::new();
    // A terminal that is gone says no.
    let _ = write!(io::stderr(), "{action} link {link}? [y/N] ").and_then(|()| io::stderr().flush());
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::lost;
    use crate::admin::AtStake;

    #[test]
    fn a_person_is_told_what_is_lost() {
        let at_stake = AtStake {
            born: true,
            gtid_applied: "u:1-7".into(),
            gtid_to_come: Some("u:8-9".into()),
            transactions_to_come: Some(2),
            conflicts: 3,
            open_conflicts: 1,
        };
        let text = lost("reset", "eu-us", &at_stake);
        for part in
            ["u:1-7", "2 transactions", "u:8-9", "never be applied", "1 conflicts that wait", "all 3 stay"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = lost("delete", "eu-us", &AtStake { gtid_to_come: None, ..at_stake.clone() });
        assert!(
            text.contains("does not answer") && text.contains("3 recorded conflicts are deleted"),
            "{text}"
        );
        assert!(lost("reset", "eu-us", &AtStake { born: false, ..at_stake }).contains("has not begun"));
    }
}
