//! The console, in a real browser against a real running pair: what happens is read off the page, and what a person
//! decides there happens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Browser, Pair, PairOptions, Process, TwinlogProcess, twinlog, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(30);

/// A desktop's window.
const WIDE: (u32, u32) = (1280, 900);
/// A phone's.
const PHONE: (u32, u32) = (390, 844);

const TROUBLE: &str = "section.trouble";
const VERDICT: &str = "#verdict";

/// A pair with a table in step, all four processes running.
async fn pair() -> Pair {
    let pair = Pair::new(PairOptions::default()).await;
    let table = "CREATE TABLE shop.stock (id INT PRIMARY KEY, sku VARCHAR(20) NOT NULL, qty INT)";
    for region in [&pair.eu, &pair.us] {
        let rows = "INSERT INTO shop.stock VALUES (1, 'A-77', 12), (2, 'B-12', 3)";
        region.run_all(&["CREATE DATABASE IF NOT EXISTS shop", table, rows]).await;
    }
    pair.start().await;
    pair
}

/// A console beside the pair, and its address.
async fn console(folder: &Path, file: &Path) -> (TwinlogProcess, String) {
    let mut command = twinlog();
    command.args(["console", "--listen", "127.0.0.1:0", "-c"]).arg(file);
    // The thread that starts it lives as long as the test: the kernel ends the console with it.
    let console = TwinlogProcess::start_plain("console", &command, &folder.join("console.log"));
    let url = until("the console says where it is", SOON, async || {
        let log = console.log();
        log.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned).ok_or(log.clone())
    })
    .await;
    (console, url)
}

/// Where pictures for the documentation go, when somebody wants them.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("TWINLOG_SCREENSHOTS").map(PathBuf::from)
}

async fn picture(page: &mut Browser, name: &str) {
    if let Some(folder) = pictures() {
        page.picture(&folder.join(format!("{name}.png"))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_what_stopped_and_what_to_do_and_decides_on_the_page() {
    let pair = pair().await;
    let (_console, url) = console(pair.folder(), pair.config()).await;
    let mut page = Browser::start(WIDE, "light").await;
    page.open(&url).await;
    both_regions_are_alive(&mut page).await;
    rows_are_seen_to_flow(&pair, &mut page).await;
    a_killed_relay_is_told(&pair, &mut page).await;
    a_link_is_paused_and_resumed(&pair, &mut page).await;
    a_conflict_is_read_and_decided(&pair, &mut page).await;
    the_regions_are_compared_and_checked(&mut page).await;
    a_new_link_is_drafted(&mut page).await;
    it_works_by_keyboard_and_on_a_phone(&mut page).await;
    assert_eq!(page.complaints().await, [""; 0], "the page complained");
}

async fn both_regions_are_alive(page: &mut Browser) {
    page.wait(VERDICT, "All regions are in step").await;
    for (link, label) in [("eu-us", "from eu to us: running"), ("us-eu", "from us to eu: running")] {
        let drawn = page.eval("[...document.querySelectorAll('.picture .link')].map((l) => l.getAttribute('aria-label')).join()").await;
        let drawn = drawn.as_str().unwrap_or_default().to_owned();
        assert!(drawn.contains(&format!("Link {link}, {label}")), "{drawn}");
    }
    page.wait("section[aria-labelledby=relays]", "running").await;
}

async fn rows_are_seen_to_flow(pair: &Pair, page: &mut Browser) {
    pair.eu.run("UPDATE shop.stock SET qty = qty + 1").await;
    pair.wait_in_step(SOON).await;
    page.open_hash("#/link/eu-us").await;
    page.wait("dl.facts div", "Transactions applied1").await;
    page.wait("dl.facts div", "Rows applied2").await;
    page.wait("section[aria-labelledby=gtids]", "Missingnothing").await;
    page.wait("section[aria-labelledby=options]", "a person decides").await;
    page.wait("section[aria-labelledby=relaylog]", "shop/eu/us").await;
    // A point of the hour comes every five seconds.
    page.wait_for("document.querySelectorAll('.chart path.series').length >= 6").await;
    picture(page, "console-link").await;
}

async fn a_killed_relay_is_told(pair: &Pair, page: &mut Browser) {
    page.open_hash("#/").await;
    pair.kill9(Process::Relay("us"));
    page.wait(VERDICT, "us").await;
    page.wait(TROUBLE, "relay us").await;
    page.wait(TROUBLE, "unreachable").await;
    page.wait("section[aria-labelledby=relays] tr", "unreachable").await;
    let drawn = page.eval("document.querySelector('.picture .region.bad').getAttribute('aria-label')").await;
    assert!(drawn.as_str().is_some_and(|label| label.contains("Region us")), "{drawn}");
    picture(page, "console-relay-lost").await;
    pair.start_one(Process::Relay("us"));
    page.wait(VERDICT, "All regions are in step").await;
    page.wait_gone(TROUBLE).await;
}

async fn a_link_is_paused_and_resumed(pair: &Pair, page: &mut Browser) {
    page.open_hash("#/link/eu-us").await;
    page.click("[data-action=pause]").await;
    page.wait("dialog", "The target falls behind until you resume.").await;
    page.fill("dialog .why input", "a look at the target").await;
    page.click("dialog button:has-text('Pause')").await;
    page.wait(VERDICT, "paused").await;
    page.wait("main > p", "a look at the target").await;
    pair.wait_state("eu-us", "paused", SOON).await;
    page.click("[data-action=resume]").await;
    page.click("dialog button:has-text('Resume')").await;
    page.wait(VERDICT, "running").await;
    page.open_hash("#/").await;
    page.wait(VERDICT, "All regions are in step").await;
}

async fn a_conflict_is_read_and_decided(pair: &Pair, page: &mut Browser) {
    pair.wait_in_step(SOON).await;
    pair.stop_one(Process::Applier("eu-us")).await;
    page.wait("section[aria-labelledby=links] tr", "unreachable").await;
    pair.stop_one(Process::Applier("us-eu")).await;
    pair.eu.run("UPDATE shop.stock SET qty = 100 WHERE id = 1").await;
    pair.us.run("UPDATE shop.stock SET qty = 200 WHERE id = 1").await;
    pair.start_one(Process::Applier("eu-us"));
    page.wait(TROUBLE, "What to do").await;
    page.wait(".tabs", "Conflicts1").await;
    page.open_hash("#/conflicts").await;
    page.wait(".conflict summary", "waits for you").await;
    page.click(".conflict summary").await;
    page.wait(".sides tr", "qty13100200").await;
    picture(page, "console-conflict").await;
    page.click(".conflict button:has-text('Take the incoming row')").await;
    page.wait("dialog", "The row that is in the target now.").await;
    page.click("dialog button:has-text('Take the incoming row')").await;
    page.wait(".conflict summary", "source").await;
    until("the row is the incoming one", SOON, async || {
        let qty: i64 = pair.us.row("SELECT qty FROM shop.stock WHERE id = 1").await;
        if qty == 100 { Ok(()) } else { Err(format!("qty is {qty}")) }
    })
    .await;
    pair.start_one(Process::Applier("us-eu"));
    // The other side met the same: there the row of us is the incoming one.
    page.wait(".tabs", "Conflicts1").await;
    page.wait(".conflict summary", "waits for you").await;
    page.click(".conflict:has-text('waits for you') summary").await;
    page.click(".conflict[open]:has-text('waits for you') button:has-text('Keep the row here')").await;
    page.click("dialog button:has-text('Keep the row here')").await;
    pair.wait_in_step(SOON).await;
    page.open_hash("#/").await;
    page.wait(VERDICT, "All regions are in step").await;
}

async fn the_regions_are_compared_and_checked(page: &mut Browser) {
    page.open_hash("#/verify").await;
    page.click("[data-action=verify]").await;
    page.click("dialog button:has-text('Compare')").await;
    page.wait("#verified", "equal").await;
    page.open_hash("#/check").await;
    page.click("[data-action=check]").await;
    page.wait("dl.facts div", "Failed0").await;
}

async fn a_new_link_is_drafted(page: &mut Browser) {
    page.open_hash("#/new").await;
    page.wait("section[aria-label='What is wrong']", "link.eu-us").await;
    page.fill("input[name=name]", "second").await;
    page.choose("select[name=on_conflict], select[name=back_conflict]", "ignore").await;
    page.wait("pre.toml", "[link.second]\nfrom = \"eu\"\nto = \"us\"").await;
    page.wait("fieldset", "shop.stock").await;
    page.click("button:has-text('shop.stock')").await;
    page.wait("section[aria-label='Structure in the target'] pre", "CREATE TABLE `shop`.`stock`").await;
    picture(page, "console-new-link").await;
}

async fn it_works_by_keyboard_and_on_a_phone(page: &mut Browser) {
    page.open_hash("#/").await;
    page.wait(VERDICT, "All regions are in step").await;
    page.eval("document.querySelector('.picture .link').focus()").await;
    page.press("Enter").await;
    page.wait(VERDICT, "eu-us").await;
    page.press("Tab").await;
    let focused = page
        .eval("document.activeElement !== document.body && document.activeElement.id !== 'content'")
        .await;
    assert_eq!(focused, true, "the page goes on behind its heading");
    for scheme in ["light", "dark"] {
        page.look(PHONE, scheme).await;
        for hash in ["#/", "#/link/eu-us", "#/conflicts", "#/verify", "#/check", "#/new"] {
            page.open_hash(hash).await;
            page.wait_for("document.querySelector('#verdict') !== null").await;
            let beyond = page.eval("Math.max(0, document.documentElement.scrollWidth - innerWidth)").await;
            assert_eq!(beyond, 0, "{hash} is wider than a phone");
        }
        let faint = page.eval(CONTRAST).await;
        assert_eq!(faint, "", "text too faint in {scheme}");
        page.open_hash("#/").await;
        page.wait(VERDICT, "All regions are in step").await;
        picture(page, &format!("console-phone-{scheme}")).await;
        page.look(WIDE, scheme).await;
        picture(page, &format!("console-{scheme}")).await;
    }
}

/// Text whose contrast with what is behind it is below 4.5:1, by WCAG's formula.
const CONTRAST: &str = r"(() => {
  const rgb = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0.95) return color;
    }
    return [255, 255, 255];
  };
  const bad = new Set();
  for (const node of document.querySelectorAll('main *, header *, footer *')) {
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()) || node.closest('svg, :disabled')) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.add(`${node.tagName}.${node.className} ${ratio.toFixed(2)} ${node.textContent.slice(0, 20)}`);
  }
  return [...bad].join('; ');
})()";

/// A request as no browser would send it; the answer's first line and its headers.
async fn raw(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.expect("the console listens");
    let request = request.replace("HOST", address);
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("it answers in time").expect("it can be read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_neither_read_nor_change_anything_and_only_loopback_is_served() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, LONELY).expect("a file can be written");
    let (_console, url) = console(folder.path(), &file).await;
    let page = raw(&url, "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let head = page.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "nosniff", "no-store"] {
        assert!(head.contains(part), "{part} in {head}");
    }
    for (code, request) in [
        (403, "GET /api/v1/state HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        (
            403,
            "GET /api/v1/state HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
        ),
        (
            403,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (
            403,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (
            415,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (404, "GET /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"),
        (
            404,
            "POST /api/v1/links/none/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (405, "DELETE / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"),
        (
            502,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
    ] {
        let answer = raw(&url, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
    }
    let path = file.to_string_lossy().into_owned();
    let open = harness::Finished::of(&["console", "-c", &path, "--listen", "0.0.0.0:0"], SOON).await;
    open.assert_failed(2, &["loopback only", "0.0.0.0", "ssh -L"]);
}

/// A sync of which nothing runs.
const LONELY: &str = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"state\"\nallow_inline_secrets = true\n\
    [region.eu]\nmysql.address = \"127.0.0.1:1\"\nmysql.user = \"u\"\nmysql.password = \"p\"\nrelay.listen = \"127.0.0.1:2\"\nrelay.password = \"p\"\n\
    [region.us]\nmysql.address = \"127.0.0.1:3\"\nmysql.user = \"u\"\nmysql.password = \"p\"\n\
    [link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n";
