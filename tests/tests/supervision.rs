//! `twinlog up` runs everything of a file, restarts what dies, and ends in good order.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, TwinlogProcess, Workload, seed, send_signal, twinlog, until};

const SOON: Duration = Duration::from_secs(60);

async fn up() -> (Pair, TwinlogProcess) {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    let mut command = twinlog();
    command.args(["up", "-c"]).arg(pair.config());
    let up = TwinlogProcess::start_plain("up", &command, &pair.folder().join("up.log"));
    pair.wait_running().await;
    (pair, up)
}

/// The processes that `up` runs at this moment.
fn children(up: &TwinlogProcess) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", up.pid())).expect("the process runs");
    let lists =
        tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let text = lists.collect::<Vec<_>>().join(" ");
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_dies_is_started_again_and_sigterm_ends_all() {
    let (pair, mut up) = up().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    let before = children(&up);
    assert_eq!(before.len(), 4, "{before:?}");
    for pid in &before {
        workload.wait_for_more(20).await;
        send_signal(*pid, "KILL");
    }
    until("four new children run", SOON, async || {
        let now = children(&up);
        if now.len() == 4 && !now.iter().any(|p| before.contains(p)) {
            Ok(())
        } else {
            Err(format!("{before:?} {now:?}"))
        }
    })
    .await;
    pair.wait_running().await;
    let committed = workload.stop().await;
    pair.wait_in_step(SOON).await;
    committed.assert_in_both(&pair).await;

    let last = children(&up);
    let status = up.stop(Duration::from_secs(30)).await;
    assert!(status.success(), "up ended with {status}");
    let left: Vec<_> = last.iter().filter(|p| std::path::Path::new(&format!("/proc/{p}")).exists()).collect();
    assert!(left.is_empty(), "{left:?} still run");
    let status = pair.try_status().await.expect("a status");
    assert_eq!((status.code, status.link("eu-us").expect("the link").state()), (1, "unreachable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_end_when_up_is_killed() {
    let (_pair, mut up) = up().await;
    let children = children(&up);
    assert_eq!(children.len(), 4, "{children:?}");
    up.kill9();
    until("the children are gone", Duration::from_secs(20), async || {
        let left: Vec<_> =
            children.iter().filter(|p| std::path::Path::new(&format!("/proc/{p}")).exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} still run")) }
    })
    .await;
}
