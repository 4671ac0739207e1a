//! `twinlog demo`: nothing to configure, and nothing left behind.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use harness::{Browser, Finished, TwinlogProcess, take_slot, twinlog, until};

/// Servers started, writers stopped, everything equal: with room for a machine that does more at the same time.
const WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_equal_checksums_and_exits_with_0() {
    let _slot = take_slot().await;
    let finished = Finished::of(&["demo", "--seconds", "5"], WITHIN).await;
    assert_eq!(finished.code, 0, "{finished}");
    for word in ["eu", "us", "customer", "order_line", "echo", "equal"] {
        assert!(finished.out.contains(word), "{word:?} is not shown; {finished}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_demo_leaves_no_process_and_no_folder_behind() {
    let _slot = take_slot().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("demo.log");
    let mut command = twinlog();
    command.args(["demo", "--seconds", "600"]).env("TMPDIR", folder.path());
    let mut demo = TwinlogProcess::start_plain("demo", &command, &log);
    let family = until("the demo has its servers and processes", WITHIN, async || {
        assert!(demo.ended().is_none(), "{}", demo.log());
        // Two servers, a supervisor or none, four processes.
        let family = descendants(demo.pid());
        if family.len() >= 6 && demo.log().contains("lag") {
            Ok(family)
        } else {
            Err(format!("{} processes", family.len()))
        }
    })
    .await;
    the_page_shows_both_regions_alive(&demo).await;
    demo.signal("INT");
    let what = "the demo ends after Ctrl-C";
    until(what, Duration::from_secs(30), async || demo.ended().map(drop).ok_or("it runs".into())).await;
    until("all of its processes are gone", Duration::from_secs(10), async || {
        let left: Vec<_> = family.iter().filter(|pid| runs(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} still run")) }
    })
    .await;
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("the folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, ["demo.log"]);
}

/// The demo has said where its console is before anything ran, and the page shows a link each way that runs.
async fn the_page_shows_both_regions_alive(demo: &TwinlogProcess) {
    let log = demo.log();
    let (url, links) = (log.find("console: http://127.0.0.1:"), log.find("writing"));
    assert!(url.is_some_and(|url| links.is_none_or(|links| url < links)), "{log}");
    let url = log[url.unwrap_or_default()..].split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut page = Browser::start((1000, 800), "light").await;
    page.open(&url).await;
    page.wait("#verdict", "All regions are in step").await;
    page.wait_for("document.querySelectorAll('.picture .link.ok .flow').length === 2").await;
    // From the first request on: ten seconds are the promise, for a person who waits.
    let took = page.eval("performance.now()").await;
    assert!(took.as_f64().is_some_and(|ms| ms < 10_000.0), "it took {took} ms");
    assert_eq!(page.complaints().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_demo_leaves_no_process_behind() {
    let _slot = take_slot().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = twinlog();
    command.args(["demo", "--seconds", "600"]).env("TMPDIR", folder.path());
    let mut demo = TwinlogProcess::start_plain("demo", &command, &folder.path().join("demo.log"));
    let family = until("the demo has its servers and processes", WITHIN, async || {
        assert!(demo.ended().is_none(), "{}", demo.log());
        let family = descendants(demo.pid());
        if family.len() >= 6 { Ok(family) } else { Err(format!("{} processes", family.len())) }
    })
    .await;
    demo.kill9();
    until("all of its processes are gone", Duration::from_secs(30), async || {
        let left: Vec<_> = family.iter().filter(|pid| runs(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} still run")) }
    })
    .await;
}

/// The processes below this one, by the parent that each names.
fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([pid]);
    loop {
        let before = found.len();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(child) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
            if parent(child).is_some_and(|p| found.contains(&p)) {
                found.insert(child);
            }
        }
        if found.len() == before {
            found.remove(&pid);
            return found;
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    field(pid, 1)?.parse().ok()
}

/// Is there such a process that has not ended? A zombie has.
fn runs(pid: u32) -> bool {
    field(pid, 0).is_some_and(|state| state != "Z")
}

/// A field of `/proc/<pid>/stat`, counted from the state, which follows the name in brackets.
fn field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(index).map(str::to_owned)
}
