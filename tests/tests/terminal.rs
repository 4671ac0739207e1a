//! `twinlog status --watch` on a terminal: the whole screen, given back as it was.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::{Finished, Pair, Process, twinlog, until};

use crate::copy_held::{fill, one_way, start};

const SOON: Duration = Duration::from_secs(30);

/// A sync of which nothing runs.
const FILE: &str = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"state\"\nallow_inline_secrets = true\n\
    [region.eu]\nmysql.address = \"127.0.0.1:1\"\nmysql.user = \"u\"\nmysql.password = \"p\"\n\
    [region.us]\nmysql.address = \"127.0.0.1:3\"\nmysql.user = \"u\"\nmysql.password = \"p\"\n\
    [link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n";

/// The command in a pseudo terminal of 100 columns, which util-linux's `script` makes; what it draws goes into `out`.
fn watch(file: &Path, out: &Path, no_color: bool) -> Child {
    let command = format!(
        "stty cols 100 rows 20; exec {} status --watch -c {}",
        twinlog().get_program().to_string_lossy(),
        file.display()
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command", &command]).arg(out);
    script.env("TERM", "xterm").env("SHELL", "/bin/sh").env_remove("NO_COLOR");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script of util-linux runs")
}

#[tokio::test]
async fn watching_fills_the_terminal_until_q_and_gives_it_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("shop.toml"), FILE).expect("a file can be written");
    for no_color in [false, true] {
        let out = folder.path().join(format!("screen-{no_color}"));
        let mut child = watch(&folder.path().join("shop.toml"), &out, no_color);
        let drawn = || String::from_utf8_lossy(&std::fs::read(&out).unwrap_or_default()).into_owned();
        until("the screen is drawn", SOON, async || {
            let drawn = drawn();
            if drawn.contains("q quits") && drawn.contains("unreachable") { Ok(()) } else { Err(drawn) }
        })
        .await;
        child.stdin.take().expect("it is piped").write_all(b"q").expect("a key is pressed");
        let status = until("q ends it", SOON, async || {
            child.try_wait().expect("a child can be asked").ok_or_else(|| "it runs".to_owned())
        })
        .await;
        // As `status`: nobody answers.
        assert_eq!(status.code(), Some(1), "{}", drawn());
        let drawn = drawn();
        assert!(
            drawn.contains("\x1b[?1049h") && drawn.contains("\x1b[?1049l"),
            "another screen, and back: {drawn:?}"
        );
        assert!(drawn.contains("eu-us does not flow"), "{drawn}");
        assert_eq!(drawn.contains("\x1b[31m"), !no_color, "{drawn:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_watched_as_a_bar_and_told_with_rate_and_time_left_as_text_and_as_json() {
    let lines = "initial = \"data\"\nload = { threads = 1, batch_rows = 100, max_rows_per_second = 500 }";
    let pair = one_way(lines).await;
    fill(&pair).await;
    start(&pair);
    let out = pair.folder().join("screen");
    let mut child = watch(pair.config(), &out, true);
    let drawn = || String::from_utf8_lossy(&std::fs::read(&out).unwrap_or_default()).into_owned();
    let has_bar = |line: &str, name: &str| {
        line.contains(name) && line.contains('█') && line.contains(" left, ") && line.contains(" rows/s")
    };
    until("the bars are drawn", SOON, async || {
        let drawn = drawn();
        let any = |name: &str| drawn.lines().any(|line| has_bar(line, name));
        if any("copy, 1 of 2 tables") && any("shop.big") { Ok(()) } else { Err(drawn) }
    })
    .await;
    child.stdin.take().expect("it is piped").write_all(b"q").expect("a key is pressed");

    let status = pair.link_status("eu-us").await;
    let load = &status.json()["load"];
    let big = load["tables"].as_array().unwrap().iter().find(|table| table["table"] == "shop.big").unwrap();
    for part in [load, big] {
        let number = |field: &str| part[field].as_f64().unwrap_or_default();
        assert!(number("rows_done") > 0.0 && number("rows_done") < number("rows_estimated"), "{load}");
        assert!(number("bytes_done") > 0.0 && number("bytes_done") <= number("bytes_estimated"), "{load}");
        let rate = number("rows_per_second");
        assert!(rate > 0.0 && rate < 1500.0 && number("bytes_per_second") > rate, "{load}");
        assert!(part["seconds_left"].is_number(), "{load}");
    }
    let told = Finished::of(&["status", "-c", &pair.config().to_string_lossy()], SOON).await.out;
    let heading = told.lines().find(|line| line.starts_with("copy of eu-us: ")).unwrap_or_default();
    assert!(heading.contains(" rows/s, ") && heading.ends_with(" left"), "{told}");
    let row = told.lines().find(|line| line.starts_with("shop.big ")).unwrap_or_default();
    assert!(row.contains("copying") && row.ends_with('s'), "{told}");
    until("q ends it", SOON, async || {
        child.try_wait().expect("a child can be asked").ok_or_else(|| "it runs".to_owned())
    })
    .await;
}

/// A command in a pseudo terminal of 140 columns; what it draws goes into `out`. It ends after two minutes even when
/// nobody ends it: a terminal that goes away is no reason for a process to do so.
fn on_terminal(pair: &Pair, command: &str, out: &Path) -> Child {
    let command = format!(
        "stty cols 140 rows 20; exec timeout --foreground 120 {} {command} -c {}",
        twinlog().get_program().to_string_lossy(),
        pair.config().display()
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command", &command]).arg(out);
    script.env("TERM", "xterm").env("SHELL", "/bin/sh").env("NO_COLOR", "1");
    script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script of util-linux runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_a_copy_on_a_terminal_sees_its_bar_below_the_log_until_it_is_done() {
    for (command, link) in [("applier --link eu-us", ""), ("up --region us --no-console", "[applier eu-us] ")]
    {
        let lines =
            "initial = \"data\"\nload = { threads = 1, batch_rows = 100, max_rows_per_second = 3000 }";
        let pair = one_way(lines).await;
        fill(&pair).await;
        pair.start_one(Process::Relay("eu"));
        let out = pair.folder().join("screen");
        let mut child = on_terminal(&pair, command, &out);
        let drawn = || String::from_utf8_lossy(&std::fs::read(&out).unwrap_or_default()).into_owned();
        let wipe = "\r\u{1b}[2K";
        until("a bar is drawn", SOON, async || {
            let drawn = drawn();
            let is_bar = |piece: &str| {
                piece.starts_with("copy of eu-us █")
                    && piece.contains(" left, ")
                    && piece.contains(" of 2 tables")
            };
            if drawn.split(wipe).any(is_bar) { Ok(()) } else { Err(drawn) }
        })
        .await;
        pair.wait_state("eu-us", "running", SOON).await;
        until("the bar is gone, and the log goes on", SOON, async || {
            let drawn = drawn();
            let last = drawn.split(wipe).last().unwrap_or_default();
            let is_whole = |line: &str| !(line.contains("copy of eu-us") && line.contains("[applier"));
            let pieces: Vec<&str> = drawn.split(wipe).collect();
            if !last.contains('█') && pieces.iter().all(|piece| is_whole(piece)) && drawn.contains(link) {
                return Ok(());
            }
            Err(drawn)
        })
        .await;
        child.stdin.take().expect("it is piped").write_all(b"\x03").expect("Ctrl-C is pressed");
        until("Ctrl-C ends it", SOON, async || {
            child.try_wait().expect("a child can be asked").map(drop).ok_or_else(|| "it runs".to_owned())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_no_terminal_gets_neither_colours_nor_movements() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, FILE).expect("a file can be written");
    let finished = Finished::of(&["status", "-c", &file.to_string_lossy()], SOON).await;
    assert_eq!(finished.code, 1, "{finished}");
    assert!(finished.out.contains("unreachable") && !finished.out.contains('\x1b'), "{finished}");
}
