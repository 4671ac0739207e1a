//! The binary as its users meet it: exit codes, and errors that say what and where.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its assertions do")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A pair whose servers are not there: nobody listens on port 1.
const PAIR: &str = r#"
[sync]
name = "shop"
tables = ["shop.*"]
state_dir = "state"
allow_inline_secrets = true
[region.eu]
mysql.address = "127.0.0.1:1"
mysql.user = "twinlog"
relay.listen = "127.0.0.1:0"
relay.address = "127.0.0.1:1"
relay.password = "r"
[region.us]
mysql.address = "127.0.0.1:1"
mysql.user = "twinlog"
relay.listen = "127.0.0.1:0"
relay.address = "127.0.0.1:1"
relay.password = "r"
[link.eu-us]
from = "eu"
to = "us"
[link.us-eu]
from = "us"
to = "eu"
"#;

struct Folder(TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("twinlog.toml"), text).unwrap();
        Self(folder)
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("twinlog.toml")
    }

    /// Runs `twinlog WORDS -c FILE` to its end.
    fn run(&self, words: &str) -> Finished {
        finished(command(words).arg("-c").arg(self.config()))
    }
}

struct Finished {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinlog"));
    command.args(words.split_whitespace()).env_remove("TWINLOG_LOG").stdin(Stdio::null());
    command
}

fn finished(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[test]
fn faults_of_the_configuration_end_every_command_with_2_and_their_lines() {
    let folder =
        Folder::with(&PAIR.replace("to = \"us\"", "to = \"us\"\nworkres = 4\non_conflict = \"newest\""));
    for words in ["check", "up", "relay --region eu", "applier --link eu-us", "status"] {
        let finished = folder.run(words);
        assert_eq!(finished.code, Some(2), "{words}: {}", finished.err);
        for part in [
            "error: configuration",
            "twinlog.toml",
            "line 22: link.eu-us.workres: unknown key",
            "workers",
            "line 23",
        ] {
            assert!(finished.err.contains(part), "{words}: no {part} in {}", finished.err);
        }
    }
    assert_eq!(finished(command("status -c /no/such/file").arg("--json")).code, Some(2));
}

#[test]
fn a_name_that_is_not_in_the_file_is_told_with_those_that_are() {
    let folder = Folder::with(PAIR);
    for (words, known) in [
        ("relay --region asia", "eu, us"),
        ("applier --link eu-asia", "eu-us, us-eu"),
        ("up --region asia", "eu, us"),
    ] {
        let finished = folder.run(words);
        assert_eq!(finished.code, Some(2), "{words}");
        assert!(finished.err.contains("asia") && finished.err.contains(known), "{words}: {}", finished.err);
    }
}

#[test]
fn usage_ends_with_2() {
    let folder = Folder::with(PAIR);
    for words in ["link start --link eu-asia", "link reset --link eu-us", "link delete --link eu-us"] {
        let refused = folder.run(words);
        assert_eq!(refused.code, Some(2), "{words}: {}", refused.err);
    }
    assert_eq!(finished(&mut command("log list")).code, Some(2));
    assert_eq!(finished(&mut command("relay")).code, Some(2));
    assert_eq!(finished(&mut command("no-such-command")).code, Some(2));
    assert_eq!(finished(&mut command("--help")).code, Some(0));
    let level = folder.run("status --log-format json --log-level info,=,=x");
    assert_eq!(level.code, Some(2));
    assert!(level.err.contains("not a log level"), "{}", level.err);
}

#[test]
fn status_of_processes_that_do_not_run_is_unreachable_with_the_reason() {
    let folder = Folder::with(PAIR);
    let finished = folder.run("status --json");
    assert_eq!(finished.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&finished.out).unwrap();
    assert_eq!(json["sync"], "shop");
    assert_eq!(json["links"].as_array().unwrap().len(), 2);
    for link in json["links"].as_array().unwrap() {
        assert_eq!((&link["state"], &link["relay_state"]), (&"unreachable".into(), &"unreachable".into()));
        assert!(link["last_error"].as_str().unwrap().contains("not running on this host"), "{link}");
        assert!(link["rows_applied"].is_null());
    }
    assert_eq!(json["relays"][0]["region"], "eu");
    let table = folder.run("status");
    assert!(table.out.contains("eu-us") && table.out.contains("unreachable"), "{}", table.out);
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_names_its_address() {
    let folder = Folder::with(PAIR);
    for words in ["relay --region eu", "applier --link eu-us"] {
        let finished = folder.run(&format!("{words} --start-timeout 1s"));
        assert_eq!(finished.code, Some(1), "{words}: {}", finished.err);
        assert!(finished.err.contains("error: ") && finished.err.contains("cause: "), "{}", finished.err);
        assert!(finished.err.contains("127.0.0.1:1"), "{}", finished.err);
        // What it published is withdrawn.
        let left = fs::read_dir(folder.0.path().join("state"))
            .unwrap()
            .flatten()
            .filter(|e| e.path().is_file())
            .count();
        assert_eq!(left, 0);
    }
}

#[test]
fn a_check_of_servers_that_are_not_there_fails_by_item_and_skips_the_rest() {
    let folder = Folder::with(PAIR);
    let finished = folder.run("check --json");
    assert_eq!(finished.code, Some(1), "{}", finished.err);
    let json: serde_json::Value = serde_json::from_str(&finished.out).unwrap();
    let items = json["items"].as_array().unwrap();
    for region in ["eu", "us"] {
        let of = |item: &str| items.iter().find(|i| i["region"] == region && i["item"] == item).unwrap();
        for item in ["reader_login", "writer_login"] {
            assert_eq!(of(item)["status"], "fail", "{region} {item}");
            assert!(of(item)["found"].as_str().unwrap().contains("127.0.0.1:1"), "{}", of(item));
        }
        for item in ["settings", "tables", "meta_schema", "relay_position"] {
            assert_eq!(of(item)["status"], "skipped", "{region} {item}");
        }
    }
    let pair = items.iter().find(|i| i["scope"] == "pair").unwrap();
    assert_eq!((&pair["item"], &pair["status"]), (&"pair".into(), &"skipped".into()));
    let text = folder.run("check");
    assert_eq!(text.code, Some(1));
    assert!(
        text.out.contains("region eu, server 127.0.0.1:1") && text.out.contains("not ok: "),
        "{}",
        text.out
    );
    assert!(!text.out.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn logs_are_json_when_asked_for_and_never_on_standard_output() {
    let folder = Folder::with(PAIR);
    let finished = folder.run("relay --region eu --start-timeout 1s --log-format json");
    assert_eq!(finished.out, "");
    let first = finished.err.lines().next().unwrap();
    let json: serde_json::Value = serde_json::from_str(first).unwrap_or_else(|e| panic!("{e}: {first}"));
    assert_eq!((&json["level"], &json["process"]), (&"INFO".into(), &"relay eu".into()));
    let text = folder.run("applier --link eu-us --start-timeout 0s");
    assert!(text.err.lines().next().unwrap().starts_with("[applier eu-us] "), "{}", text.err);
    let last: serde_json::Value = serde_json::from_str(finished.err.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["error"].as_str().unwrap().contains("127.0.0.1:1"), "{last}");
}

#[test]
fn up_starts_every_process_again_and_leaves_none_behind() {
    let folder = Folder::with(PAIR);
    for signal in ["TERM", "KILL"] {
        let log = folder.0.path().join(format!("{signal}.log"));
        let mut up = command("up --log-format json")
            .arg("-c")
            .arg(folder.config())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let started = || -> Vec<u64> {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
            lines.filter(|l| l["message"] == "started").filter_map(|l| l["pid"].as_u64()).collect()
        };
        wait_until("all four processes are started", || started().len() >= 4);
        // A child that dies is started again.
        let victim = started()[0];
        assert_eq!(parent(victim), Some(u64::from(up.id())));
        Command::new("kill").args(["-KILL", &victim.to_string()]).status().unwrap();
        wait_until("a fifth process is started", || started().len() >= 5);
        // The others have not noticed.
        assert_eq!(started().len(), 5);
        assert!(started()[1..].iter().all(|pid| runs(*pid)));
        // A signal that comes twice at once is one wish: nobody is cut off.
        for _ in 0..2 {
            let _ = Command::new("kill").args([&format!("-{signal}"), &up.id().to_string()]).status();
        }
        let status = wait_for(&mut up);
        assert_eq!(status.code(), if signal == "TERM" { Some(0) } else { None });
        assert!(!fs::read_to_string(&log).unwrap().contains("is killed"));
        wait_until("no process is left", || started().iter().all(|pid| !runs(*pid)));
    }
}

/// The parent of a process that there is.
fn parent(pid: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split_whitespace().nth(1)?.parse().ok()
}

/// Is there a process of this id that has not ended? A zombie has.
fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|s| s.chars().next()).is_some_and(|state| state != 'Z')
}

fn wait_for(child: &mut std::process::Child) -> std::process::ExitStatus {
    let mut status = None;
    wait_until("the process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
