//! `twinlog reload`: every running process reads the file again.

use std::io::Write;
use std::process::ExitCode;

use crate::admin::client::{Peer, Refused};
use crate::admin::{Kind, Reloaded, Unreachable};
use crate::cli::OutputArgs;
use crate::failure::Failure;

/// Asks each relay and applier of the file, and tells what each has taken over and what needs a restart. Exit code 1
/// when one that runs could not, or none runs.
pub(crate) async fn run(args: OutputArgs) -> Result<ExitCode, Failure> {
    // A faulty file is told here already, and nobody is asked.
    let file = super::load(&args.file)?;
    let mut peers = vec![Peer::of(&file, Kind::Up, &file.sync.name)];
    peers.extend(Peer::all(&file));
    let (mut all, mut reached) = (Vec::<Reloaded>::new(), false);
    for peer in &peers {
        // Started a moment ago, with the new file.
        let label = format!("{} {}", peer.kind(), peer.name());
        if all.iter().any(|reloaded| reloaded.started.contains(&label)) {
            continue;
        }
        // Its own processes are asked by name below, so that one that `up` can't reach is still found.
        let path = if peer.kind() == Kind::Up { "/api/v1/reload?only=self" } else { "/api/v1/reload" };
        let answer: Result<Vec<Reloaded>, Refused> = peer.post(path, &serde_json::json!({})).await;
        let error = match answer {
            Ok(reloaded) => {
                reached = true;
                all.extend(reloaded);
                continue;
            }
            // Who runs its processes by itself has no `up`.
            Err(Refused::Unreachable(_)) if peer.kind() == Kind::Up => continue,
            Err(Refused::Unreachable(Unreachable(why))) => why,
            Err(Refused::Answered { message, .. }) => message,
        };
        all.push(Reloaded { process: label, error: Some(error), ..Reloaded::default() });
    }
    print(&all, args.json)?;
    if !reached {
        return Err(Failure::failed("no process of this file could be asked")
            .with_remedy("start them with twinlog up; a process reads the file when it starts"));
    }
    let failed = all.iter().any(|reloaded| reloaded.error.is_some());
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn print(all: &[Reloaded], json: bool) -> Result<(), Failure> {
    let failed = |e: &(dyn std::error::Error + 'static)| Failure::from_error("cannot write the answer", e);
    let text = if json {
        serde_json::to_string_pretty(all).map_err(|e| failed(&e))? + "\n"
    } else {
        all.iter().map(lines).collect()
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| failed(&e))
}

fn lines(reloaded: &Reloaded) -> String {
    let process = &reloaded.process;
    if let Some(error) = &reloaded.error {
        return format!("{process}: not reloaded: {error}\n");
    }
    let has_changed =
        [&reloaded.applied, &reloaded.started, &reloaded.ended].into_iter().any(|list| !list.is_empty())
            || !reloaded.restart.is_empty();
    let mut text = match has_changed {
        true => String::new(),
        false => format!("{process}: nothing has changed for it\n"),
    };
    for ended in &reloaded.ended {
        text += &format!("{process}: {ended} ends: its section is gone\n");
    }
    for started in &reloaded.started {
        text += &format!("{process}: {started} starts\n");
    }
    for key in &reloaded.applied {
        text += &format!("{process}: {key} holds from now on\n");
    }
    for table in &reloaded.tables {
        text += &format!("{process}: {table}\n");
    }
    for needs in &reloaded.restart {
        text += &format!("{process}: {} needs a restart: {}\n", needs.key, needs.why);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::lines;
    use crate::admin::{NeedsRestart, Reloaded};

    #[test]
    fn each_change_is_told_and_what_it_needs() {
        let restart = vec![NeedsRestart { key: "link.a.admin.listen".into(), why: "bound".into() }];
        let reloaded = Reloaded {
            process: "applier a".into(),
            applied: vec!["sync.tables".into()],
            tables: vec!["shop.u joins: it is copied".into()],
            restart,
            ..Reloaded::default()
        };
        assert_eq!(
            lines(&reloaded),
            "applier a: sync.tables holds from now on\napplier a: shop.u joins: it is copied\n\
             applier a: link.a.admin.listen needs a restart: bound\n"
        );
        let none = Reloaded { process: "relay eu".into(), ..Reloaded::default() };
        assert_eq!(lines(&none), "relay eu: nothing has changed for it\n");
    }
}
