//! The console, in a real browser against a real running pair: what happens is read off the page, and what a person
//! decides there happens. It stands where only the admin addresses are reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Browser, Pair, PairOptions, Process, TwinlogProcess, twinlog, until};

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

/// The pair's file as a host has it that reaches no MySQL server, no relay and no password: only admin addresses.
fn far_file(pair: &Pair) -> PathBuf {
    let mut port = 0;
    let line = |line: &str| match line.split_once(" = ") {
        Some((key @ ("mysql.address" | "relay.address"), _)) => {
            port += 1;
            format!("{key} = \"127.0.0.1:{port}\"\n")
        }
        Some((key, _)) if key.ends_with("password_file") => format!("{key} = \"not-here\"\n"),
        _ => format!("{line}\n"),
    };
    let text: String = pair.file().text().lines().map(line).collect();
    assert!(!text.contains(pair.eu.address()) && !text.contains("\"secret\""), "{text}");
    pair.write_file("far.toml", &text)
}

/// A console beside the pair, and its address.
pub(crate) async fn console(folder: &Path, file: &Path) -> (TwinlogProcess, String) {
    console_at("127.0.0.1:0", folder, file).await
}

async fn console_at(listen: &str, folder: &Path, file: &Path) -> (TwinlogProcess, String) {
    let mut command = twinlog();
    command.args(["console", "--listen", listen, "-c"]).arg(file);
    // The thread that starts it lives as long as the test: the kernel ends the console with it.
    let log = file.file_stem().unwrap_or_default().to_string_lossy().into_owned() + "-console.log";
    let console = TwinlogProcess::start_plain("console", &command, &folder.join(log));
    let url = until("the console says where it is", SOON, async || {
        let log = console.log();
        log.split_whitespace().find(|word| word.starts_with("http")).map(str::to_owned).ok_or(log.clone())
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
    let (_console, url) = console(pair.folder(), &far_file(&pair)).await;
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
    a_link_is_reset_and_deleted(&pair, &mut page).await;
    assert_eq!(page.complaints().await, [""; 0], "the page complained");
    from_elsewhere_it_wants_its_token(&pair, &mut page).await;
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
    // What was decided is turned round: the row of us is back, in both regions.
    page.wait(".conflict:has-text('us/1') summary", "source won").await;
    page.click(".conflict:has-text('us/1') summary").await;
    page.click(".conflict:has-text('us/1') [data-action=flip]").await;
    page.wait("dialog", "The winner's row, and what was written to it since.").await;
    page.click("dialog button:has-text('Flip')").await;
    page.wait(".conflict:has-text('us/1') summary", "source won, flipped").await;
    assert_eq!(pair.us.row::<i64>("SELECT qty FROM shop.stock WHERE id = 1").await, 200);
    pair.wait_in_step(SOON).await;
    page.open_hash("#/").await;
    page.wait(VERDICT, "All regions are in step").await;
}

async fn the_regions_are_compared_and_checked(page: &mut Browser) {
    page.open_hash("#/verify").await;
    page.click("[data-action=verify]").await;
    page.click("dialog button:has-text('Compare')").await;
    page.wait("#verified", "equal").await;
    page.wait("#verified tbody tr", "shop.stock").await;
    page.open_hash("#/check").await;
    page.click("[data-action=check]").await;
    page.wait("dl.facts div", "Failed0").await;
    page.wait("details", "passed").await;
}

async fn a_link_is_reset_and_deleted(pair: &Pair, page: &mut Browser) {
    page.open_hash("#/link/us-eu").await;
    page.click("[data-action=stop]").await;
    page.click("dialog button:has-text('Stop')").await;
    page.wait(VERDICT, "stopped").await;
    pair.us.run("INSERT INTO shop.stock VALUES (77, 'never', 0)").await;
    let behind = "dl.facts div:has-text('Behind')";
    page.wait(behind, "transaction").await;
    page.click("[data-action=reset]").await;
    page.wait("dialog li", "of its source still to come will never be applied").await;
    picture(page, "console-reset").await;
    let off = page.eval("document.querySelector('dialog button[type=submit]').disabled").await;
    assert_eq!(off, true, "the link's name is typed first");
    page.fill("dialog label:has(code) input", "us-eu").await;
    page.click("dialog button:has-text('Reset')").await;
    until("the checkpoint is gone", SOON, async || {
        let left: u64 = pair.eu.row("SELECT COUNT(*) FROM twinlog.checkpoint WHERE origin = 'us'").await;
        if left == 0 { Ok(()) } else { Err(format!("{left} rows")) }
    })
    .await;
    page.click("[data-action=delete]").await;
    page.wait("dialog li", "can't be continued, only begun anew").await;
    page.press("Escape").await;
    page.wait_gone("dialog[open]").await;
    page.click("[data-action=start]").await;
    page.click("dialog button:has-text('Start')").await;
    page.wait(VERDICT, "running").await;
    // It began from now on: the row that waited never comes, a later one does.
    pair.us.run("INSERT INTO shop.stock VALUES (78, 'comes', 0)").await;
    until("the later row is there", SOON, async || {
        let ids: Vec<i64> = pair.eu.rows("SELECT id FROM shop.stock WHERE id >= 77").await;
        if ids == [78] { Ok(()) } else { Err(format!("{ids:?}")) }
    })
    .await;
    page.click("[data-action=stop]").await;
    page.click("dialog button:has-text('Stop')").await;
    page.wait(VERDICT, "stopped").await;
    page.click("[data-action=delete]").await;
    page.fill("dialog label:has(code) input", "us-eu").await;
    page.click("dialog button:has-text('Delete')").await;
    until("nothing of the link is left", SOON, async || {
        let left: u64 = pair.eu.row("SELECT COUNT(*) FROM twinlog.link").await;
        if left == 0 { Ok(()) } else { Err(format!("{left} births")) }
    })
    .await;
}

/// Beyond loopback, with TLS, the page and its addresses tell nothing before the token was shown.
async fn from_elsewhere_it_wants_its_token(pair: &Pair, page: &mut Browser) {
    let token = "0123456789abcdef0123456789abcdef";
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let cert = pair.write_file("console.pem", &certified.cert.pem());
    let key = pair.write_file("console.key", &certified.signing_key.serialize_pem());
    let file = pair.write_file("console-token", token);
    let keys = format!(
        "[sync]\nconsole.token_file = {file:?}\nconsole.tls_cert = {cert:?}\nconsole.tls_key = {key:?}\n"
    );
    let text = std::fs::read_to_string(far_file(pair)).expect("the file").replacen("[sync]\n", &keys, 1);
    let config = pair.write_file("open.toml", &text);
    let (_console, url) = console_at("0.0.0.0:0", pair.folder(), &config).await;
    let url = url.replace("0.0.0.0", "127.0.0.1");
    page.open(&url).await;
    page.wait(VERDICT, "Sign in").await;
    for path in ["state", "events", "conflicts", "links/eu-us/at-stake"] {
        let code = page.eval(&format!("fetch('api/v1/{path}').then((answer) => answer.status)")).await;
        assert_eq!(code, 401, "{path}");
    }
    let stop = "fetch('api/v1/links/eu-us/stop', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })";
    assert_eq!(page.eval(&format!("{stop}.then((answer) => answer.status)")).await, 401);
    page.fill("input[name=token]", "0123456789abcdef0123456789abcdeX").await;
    page.press("Enter").await;
    page.wait(".fault", "his is not the console's token").await;
    picture(page, "console-sign-in").await;
    page.fill("input[name=token]", token).await;
    page.press("Enter").await;
    page.wait(".picture .link .label", "eu-us").await;
    assert_eq!(page.eval("document.cookie").await, "", "no script reads who is signed in");
    page.open(&url).await;
    page.wait(".picture .link .label", "eu-us").await;
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
    page.wait("section[aria-label='Structure in the target'] summary", "us has a table of that name").await;
    picture(page, "console-new-link").await;
}

async fn it_works_by_keyboard_and_on_a_phone(page: &mut Browser) {
    page.open_hash("#/").await;
    page.wait(VERDICT, "All regions are in step").await;
    page.eval("document.querySelector('.picture .link').focus()").await;
    page.press("Enter").await;
    page.wait(VERDICT, "eu-us").await;
    page.wait_for("document.activeElement.id === 'content'").await;
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
