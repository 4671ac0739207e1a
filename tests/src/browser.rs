//! A browser under test, told in words: opened, waited for, clicked, typed into.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::runtimes::{node, npm_package};
use crate::tools::chromium;

/// The driver; pinned, since it must know the browser's protocol and no more.
const PLAYWRIGHT: (&str, &str) = ("playwright-core", "1.56.1");

/// A step waits for what it looks for; longer is a failure.
const STEP: Duration = Duration::from_secs(40);

/// A page in a headless Chromium, driven by a small script over a pipe. Dropping it ends both.
pub struct Browser {
    // The script ends when its input closes, and the browser with it.
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Browser {
    /// Starts one, with a window of this size, in this colour scheme (`light`, `dark`).
    pub async fn start(size: (u32, u32), scheme: &str) -> Self {
        let (program, environment) = tokio::task::spawn_blocking(chromium).await.expect("a browser");
        let folder = npm_package(PLAYWRIGHT.0, PLAYWRIGHT.1).await;
        let script = folder.join("drive.mjs");
        std::fs::write(&script, include_str!("browser/drive.mjs")).expect("the cache can be written");
        let mut child = tokio::process::Command::from(node().await)
            .arg(script)
            .arg(program)
            .arg(json!(environment.into_iter().collect::<std::collections::BTreeMap<_, _>>()).to_string())
            .args([size.0.to_string(), size.1.to_string(), scheme.to_owned()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut browser = Self { input, output, _child: child };
        let ready = browser.next().await;
        assert_eq!(ready["ok"], true, "the browser does not start: {ready}");
        browser
    }

    /// Opens an address.
    pub async fn open(&mut self, url: &str) {
        self.step(json!({ "do": "open", "url": url })).await;
    }

    /// Goes to another page of the one that is open.
    pub async fn open_hash(&mut self, hash: &str) {
        self.step(json!({ "do": "eval", "text": format!("location.hash = {hash:?}; scrollTo(0, 0); null") }))
            .await;
    }

    /// Waits until a script in the page gives something true.
    pub async fn wait_for(&mut self, script: &str) {
        self.step(json!({ "do": "until", "text": script })).await;
    }

    /// Waits until an element that fits the selector holds the text.
    pub async fn wait(&mut self, selector: &str, text: &str) {
        self.step(json!({ "do": "wait", "selector": selector, "text": text })).await;
    }

    /// Waits until no element fits.
    pub async fn wait_gone(&mut self, selector: &str) {
        self.step(json!({ "do": "gone", "selector": selector })).await;
    }

    /// Clicks the first visible element that fits.
    pub async fn click(&mut self, selector: &str) {
        self.step(json!({ "do": "click", "selector": selector })).await;
    }

    /// Types into a field.
    pub async fn fill(&mut self, selector: &str, text: &str) {
        self.step(json!({ "do": "fill", "selector": selector, "text": text })).await;
    }

    /// Chooses an option by its value.
    pub async fn choose(&mut self, selector: &str, value: &str) {
        self.step(json!({ "do": "choose", "selector": selector, "text": value })).await;
    }

    /// Presses a key, as `Tab` or `Enter`.
    pub async fn press(&mut self, key: &str) {
        self.step(json!({ "do": "press", "text": key })).await;
    }

    /// What a script in the page gives.
    pub async fn eval(&mut self, script: &str) -> Value {
        self.step(json!({ "do": "eval", "text": script })).await
    }

    /// The window gets another size and scheme.
    pub async fn look(&mut self, size: (u32, u32), scheme: &str) {
        self.step(json!({ "do": "look", "width": size.0, "height": size.1, "text": scheme })).await;
    }

    /// A picture of the window.
    pub async fn picture(&mut self, path: &Path) {
        self.step(json!({ "do": "picture", "path": path })).await;
    }

    /// Everything the page complained of: errors of scripts, refusals of the page's own policy. Empty when all is well.
    pub async fn complaints(&mut self) -> Vec<String> {
        let all = self.step(json!({ "do": "complaints" })).await;
        all.as_array()
            .into_iter()
            .flatten()
            .map(|line| line.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    async fn step(&mut self, step: Value) -> Value {
        let line = format!("{step}\n");
        self.input.write_all(line.as_bytes()).await.expect("the browser's driver takes a step");
        let answer = self.next().await;
        assert_eq!(answer["ok"], true, "{step}: {}", answer["error"].as_str().unwrap_or_default());
        answer["value"].clone()
    }

    async fn next(&mut self) -> Value {
        let line =
            tokio::time::timeout(STEP, self.output.next_line()).await.expect("the browser answers in time");
        let line = line.expect("it writes text").expect("the browser's driver has not ended");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }
}
