//! The admin API: what its OpenAPI file says is what running processes do; who may ask; and one address for all.

use std::path::Path;
use std::time::Duration;

use harness::{Finished, Pair, PairOptions, Process, TwinlogProcess, pip_packages, python, twinlog, until};
use serde_json::Value;

use crate::metrics::promtool_takes;

const SOON: Duration = Duration::from_secs(30);
const APPLIER: Process = Process::Applier("eu-us");
const RELAY: Process = Process::Relay("eu");
const PACKAGE: &str = "schemathesis==4.32.5";

async fn pair() -> Pair {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)"]).await;
    }
    pair
}

/// Holds the file against the process at this address. Names of the file are given, so that it gets beyond 404.
async fn schemathesis(address: &str, folder: &Path, region: &str) -> Finished {
    let package = pip_packages("schemathesis", &[PACKAGE]).await;
    let config = folder.join("schemathesis.toml");
    // 503 is what /readyz says of a link that was stopped; any other answer of that kind is not in the file.
    let names = format!(
        "[parameters]\n\"path.link\" = \"eu-us\"\n\"path.region\" = \"{region}\"\n\
         [checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", \"503\"]\n"
    );
    std::fs::write(&config, names).expect("the folder can be written");
    let mut command = python().await;
    command
        .env("PYTHONPATH", &package)
        .arg(package.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(&config);
    command.args(["run", &format!("http://{address}/api/v1/openapi.json"), "--max-examples", "5"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-shrink", "--no-color"]);
    command.args(["--request-timeout", "30", "--generation-database", "none"]).current_dir(folder);
    Finished::of_command(&mut command, Duration::from_secs(120)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_do_what_the_openapi_file_says_refuse_other_sites_pages_and_tell_no_secret() {
    let pair = pair().await;
    pair.start().await;
    what_is_asked_is_answered_and_what_is_refused_changes_nothing(&pair).await;
    let held = async |process: Process, region: &str| {
        let folder = pair.folder().join(format!("schemathesis-{region}"));
        std::fs::create_dir(&folder).expect("a folder can be made");
        let said = schemathesis(&pair.admin_address(process), &folder, region).await;
        assert_eq!(said.code, 0, "{}: {said}", process.name());
    };
    tokio::join!(held(APPLIER, "us"), held(RELAY, "eu"));
    // Resets, deletions and stops were among what was asked; what is there is still whole.
    pair.assert_alive();
}

async fn what_is_asked_is_answered_and_what_is_refused_changes_nothing(pair: &Pair) {
    let order = "/api/v1/links/eu-us/pause";
    for head in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(pair.ask(APPLIER, order, Some("{}"), head).await.code, 403, "{head}");
        assert_eq!(pair.ask(APPLIER, "/api/v1/status", None, head).await.code, 403, "{head}");
    }
    assert_eq!(pair.ask(APPLIER, order, None, "").await.code, 405);
    for (path, body, code) in [
        (order, "{\"nonsense\": 1}", 400),
        ("/api/v1/links/us-eu/pause", "{}", 404),
        ("/api/v1/links/eu-us/reset", "{}", 409),
        ("/api/v1/links/eu-us/skip", "{\"gtid\": \"x\"}", 400),
        ("/api/v1/conflicts/us/1/flip", "{}", 404),
    ] {
        let answer = pair.ask(APPLIER, path, Some(body), "").await;
        assert_eq!(answer.code, code, "{path}: {}", answer.json);
        assert!(answer.json["error"]["message"].is_string(), "{path}: {}", answer.json);
    }
    assert_eq!(pair.link_status("eu-us").await.state(), "running");
    let status = pair.ask(APPLIER, "/api/v1/status", None, "").await.json.to_string();
    let (_, password) = pair.file().relay_account();
    assert!(!status.contains(password), "{status}");

    // An order by the API, and what was said with it.
    let said = pair.ask(APPLIER, order, Some("{\"by\": \"a test\", \"reason\": \"why not\"}"), "").await;
    assert_eq!(said.code, 200, "{}", said.json);
    let status = pair.wait_state("eu-us", "paused", SOON).await;
    assert_eq!(status.text("reason"), "by a test: why not");
    assert_eq!(pair.ask(APPLIER, "/readyz", None, "").await.code, 503);
    assert_eq!(pair.ask(APPLIER, "/api/v1/links/eu-us/resume", Some("{}"), "").await.code, 200);
    pair.wait_state("eu-us", "running", SOON).await;

    // A comparison is begun, and its outcome kept.
    assert_eq!(pair.ask(APPLIER, "/api/v1/verify", Some("{}"), "").await.code, 202);
    until("the regions were compared", SOON, async || {
        let verify = pair.ask(APPLIER, "/api/v1/verify", None, "").await.json;
        if verify["last"]["result"] == "equal" { Ok(()) } else { Err(verify.to_string()) }
    })
    .await;
    assert_eq!(pair.ask(RELAY, "/api/v1/verify", None, "").await.code, 404);
    let cancelled = pair.ask(APPLIER, "/api/v1/verify/cancel", Some("{}"), "").await;
    assert_eq!(
        (cancelled.code, cancelled.json["running"].as_bool()),
        (200, Some(false)),
        "{}",
        cancelled.json
    );

    // What the console asks, which may stand where no server is reached.
    let report = pair.ask(APPLIER, "/api/v1/check", Some("{}"), "").await.json;
    assert!(report["counts"]["fail"] == 0 && report["counts"]["pass"].as_u64() > Some(20), "{report}");
    for process in [APPLIER, RELAY] {
        let tables = pair.ask(process, "/api/v1/tables/eu", None, "").await.json;
        assert_eq!(
            (tables["tables"][0]["table"].as_str(), tables["tables"][0]["in_step"].as_bool()),
            (Some("shop.t"), Some(true)),
            "{tables}"
        );
        let table = pair.ask(process, "/api/v1/tables/eu/shop.t", None, "").await.json;
        assert!(
            table["create"].as_str().is_some_and(|create| create.starts_with("CREATE TABLE `t`")),
            "{table}"
        );
    }
    for (path, code) in
        [("eu/shop.none", 200), ("eu/none.t", 404), ("eu/plain", 400), ("mars", 404), ("eu/a/b", 404)]
    {
        let answer = pair.ask(APPLIER, &format!("/api/v1/tables/{path}"), None, "").await;
        assert_eq!((answer.code, answer.json["create"].is_null()), (code, true), "{path}: {}", answer.json);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_loopback_a_token_and_tls_are_required_and_our_own_commands_use_them() {
    let mut pair = pair().await;
    pair.configure(|file| file.add_to_link("eu-us", "admin.listen = \"0.0.0.0:0\""));
    let refused = pair.run_to_failure(APPLIER, pair.config()).await;
    refused.assert_failed(2, &["token_file", "tls_cert"]);

    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let cert = pair.write_file("admin.pem", &certified.cert.pem());
    let key = pair.write_file("admin.key", &certified.signing_key.serialize_pem());
    let token = pair.write_file("token", "0123456789abcdef0123456789abcdef\n");
    pair.configure(|file| {
        file.add_to_link("eu-us", &format!("admin.token_file = {token:?}\nadmin.tls_cert = {cert:?}"));
        file.add_to_link("eu-us", &format!("admin.tls_key = {key:?}\nadmin.tls_ca = {cert:?}"));
    });
    // The port is free, and known from the state folder alone: on this host it is reached by its address.
    let loopback = pair.file().text().replace("0.0.0.0:0", "127.0.0.1:0");
    pair.write_file("twinlog.toml", &loopback);
    pair.start_one(RELAY);
    pair.start_one(Process::Relay("us"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    let config = pair.config().to_string_lossy().into_owned();
    let paused = Finished::of(&["link", "pause", "-c", &config, "--link", "eu-us"], SOON).await;
    assert!(paused.code == 0 && paused.out.contains("paused"), "{paused}");
    // Who does not know the certificate, or the token, gets nowhere.
    pair.write_file("token", "another0another0another0another0\n");
    let status = pair.link_status("eu-us").await;
    assert!(status.state() == "unreachable" && status.last_error().contains("token"), "{}", status.json());
    pair.write_file("token", "0123456789abcdef0123456789abcdef\n");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    pair.write_file("other.pem", &other.cert.pem());
    pair.write_file(
        "twinlog.toml",
        &loopback.replace("admin.tls_ca = \"", "admin.tls_ca = \"other").replace(
            &format!("\"other{}", cert.display()),
            &format!("\"{}", pair.folder().join("other.pem").display()),
        ),
    );
    let status = pair.link_status("eu-us").await;
    assert!(
        status.state() == "unreachable" && status.last_error().contains("certificate"),
        "{}",
        status.json()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_answers_for_all_that_up_runs_and_reload_reaches_all() {
    let pair = pair().await;
    let mut command = twinlog();
    command.args(["up", "-c"]).arg(pair.config());
    let up = TwinlogProcess::start_plain("up", &command, &pair.folder().join("up.log"));
    pair.wait_running().await;
    let address = std::fs::read_to_string(pair.folder().join("state/up-shop.admin")).expect("its address");
    let get = async |path: &str| pair.ask_at(address.trim(), path, None, "").await;
    let status = get("/api/v1/status").await.json;
    assert_eq!(status["links"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!(get("/readyz").await.code, 200);
    let log = get("/api/v1/log/us").await.json;
    assert!(log["region"] == "us" && log["segments"].is_array(), "{log}");
    assert_eq!(get("/api/v1/conflicts").await.json["conflicts"].as_array().map(Vec::len), Some(0));
    let stake = get("/api/v1/links/us-eu/at-stake").await.json;
    assert_eq!(stake["born"], true, "{stake}");
    let said = pair.ask_at(address.trim(), "/api/v1/links/us-eu/stop", Some("{}"), "").await;
    assert_eq!((said.code, said.json["action"].as_str()), (200, Some("stop")), "{}", said.json);
    pair.wait_state("us-eu", "stopped", SOON).await;

    let text = std::fs::read_to_string(pair.config()).expect("the file");
    let changed = text.replace("[link.us-eu]", "[link.us-eu]\ngroup = { max_transactions = 7 }");
    pair.write_file("twinlog.toml", &changed.replace("[region.eu]", "[region.eu]\nrelay.retain = \"2h\""));
    let all = pair.ask_at(address.trim(), "/api/v1/reload", Some("{}"), "").await.json;
    let of = |process: &str| -> Value {
        let found = all.as_array().and_then(|all| all.iter().find(|one| one["process"] == process));
        found.unwrap_or_else(|| panic!("{process} is not in {all}")).clone()
    };
    assert_eq!(of("applier us-eu")["applied"][0], "link.us-eu.group.max_transactions");
    assert_eq!(of("relay eu")["applied"][0], "region.eu.relay.retain");
    assert!(of("applier eu-us")["applied"].as_array().is_some_and(Vec::is_empty), "{all}");
    assert!(of("up shop")["error"].is_null(), "{all}");
    metrics_of_all_are_one_page(&pair, address.trim()).await;
    sections_come_and_go(&pair, address.trim()).await;
    drop(up);
}

async fn metrics_of_all_are_one_page(pair: &Pair, address: &str) {
    let page = pair.text_at(address, "/metrics").await;
    for process in Process::ALL {
        let (of, name) = match process {
            Process::Relay(name) => ("region", name),
            Process::Applier(name) => ("link", name),
        };
        for series in ["twinlog_process_up", "process_start_time_seconds"] {
            assert!(
                page.contains(&format!("{series}{{sync=\"shop\",{of}=\"{name}\"}}")),
                "{series} {name}: {page}"
            );
        }
    }
    promtool_takes(&page, "up").await;
}

/// A link's section is taken out of the file, and its process ends; it is put back, and its process is there again.
async fn sections_come_and_go(pair: &Pair, address: &str) {
    let config = pair.config().to_string_lossy().into_owned();
    let whole = std::fs::read_to_string(pair.config()).expect("the file");
    let (before, _) = whole.split_once("[link.us-eu]").expect("the last section");
    let one_way = before.replace("[link.eu-us]", "[link.eu-us]\ndetect = \"key\"");
    pair.write_file("twinlog.toml", &one_way);
    let said = Finished::of(&["reload", "-c", &config], SOON).await;
    assert!(
        said.code == 0 && said.out.contains("up shop: applier us-eu ends: its section is gone"),
        "{said}"
    );
    let published = pair.folder().join("state/applier-us-eu.admin");
    until("the process has ended", SOON, async || {
        if published.exists() { Err("it is still published".into()) } else { Ok(()) }
    })
    .await;
    let links = pair.ask_at(address, "/api/v1/status", None, "").await.json["links"].clone();
    assert_eq!(links.as_array().map(Vec::len), Some(1), "{links}");
    // A password that can't be read: nothing is changed.
    let lacking =
        whole.replace("mysql.writer_password_file = \"secret\"", "mysql.writer_password_file = \"lost\"");
    pair.write_file("twinlog.toml", &lacking);
    let said = pair.ask_at(address, "/api/v1/reload", Some("{}"), "").await;
    assert_eq!(said.code, 409, "{}", said.json);

    pair.write_file("twinlog.toml", &whole);
    let said = Finished::of(&["reload", "-c", &config], SOON).await;
    assert!(said.code == 0 && said.out.contains("up shop: applier us-eu starts"), "{said}");
    // It was stopped by a person before, and stays so.
    pair.wait_state("us-eu", "stopped", SOON).await;
    let said = pair.ask_at(address, "/api/v1/links/us-eu/start", Some("{}"), "").await;
    assert_eq!(said.code, 200, "{}", said.json);
    pair.wait_running().await;
    pair.us.run("INSERT INTO shop.t VALUES (7, 7)").await;
    pair.wait_in_step(SOON).await;
}
