//! `twinlog status --watch` on a terminal: the whole screen, given back as it was.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::{Finished, twinlog, until};

const SOON: Duration = Duration::from_secs(30);

/// A sync of which nothing runs.
const FILE: &str = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"state\"\nallow_inline_secrets = true\n\
    [region.eu]\nmysql.address = \"127.0.0.1:1\"\nmysql.user = \"u\"\nmysql.password = \"p\"\n\
    [region.us]\nmysql.address = \"127.0.0.1:3\"\nmysql.user = \"u\"\nmysql.password = \"p\"\n\
    [link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n";

/// The command in a pseudo terminal of 100 columns, which util-linux's `script` makes; what it draws goes into `out`.
fn watch(folder: &Path, out: &Path, no_color: bool) -> Child {
    let command = format!(
        "stty cols 100 rows 20; exec {} status --watch -c {}",
        twinlog().get_program().to_string_lossy(),
        folder.join("shop.toml").display()
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
        let mut child = watch(folder.path(), &out, no_color);
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

#[tokio::test]
async fn what_is_no_terminal_gets_neither_colours_nor_movements() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, FILE).expect("a file can be written");
    let finished = Finished::of(&["status", "-c", &file.to_string_lossy()], SOON).await;
    assert_eq!(finished.code, 1, "{finished}");
    assert!(finished.out.contains("unreachable") && !finished.out.contains('\x1b'), "{finished}");
}
