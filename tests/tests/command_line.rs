//! The command line itself: help, versions, usage.

use std::time::Duration;

use harness::Finished;

const SHORT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn help_names_every_command_and_exits_with_0() {
    let finished = Finished::of(&["--help"], SHORT).await;
    assert_eq!(finished.code, 0, "{finished}");
    let commands =
        ["demo", "check", "up", "relay", "applier", "status", "link", "reload", "verify", "conflicts", "log"];
    for command in commands {
        assert!(finished.out.contains(&format!("\n  {command} ")), "{command} is missing; {finished}");
        let help = Finished::of(&[command, "--help"], SHORT).await;
        assert_eq!(help.code, 0, "{help}");
    }
    assert_eq!(Finished::of(&["--version"], SHORT).await.code, 0);
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    for args in
        [&["no-such-command"][..], &["relay"], &["up", "--no-such-option"], &["demo", "--seconds", "soon"]]
    {
        let finished = Finished::of(args, SHORT).await;
        assert_eq!(finished.code, 2, "{args:?}: {finished}");
        assert!(!finished.err.is_empty());
    }
}
