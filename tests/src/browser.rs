//! [`Browser`]: a headless Chromium, driven over WebDriver (W3C) by `chromedriver`.
//!
//! The browser resolves no name and reaches no address but loopback, whatever a page asks for.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{binary, http, port, retry};

/// How long one command may take: the first starts a browser on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a page may take until it shows what a test waits for.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// The size of a window, in CSS pixels.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Device pixels per CSS pixel.
    pub scale: u32,
    /// Whether it is a phone's.
    pub mobile: bool,
    /// `light` or `dark`.
    pub scheme: &'static str,
}

/// One browser with one window. Dropping it ends all its processes.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, and installs it first where there is none.
    ///
    /// # Errors
    /// When it cannot be installed or started, with the reason.
    pub fn start() -> Result<Self> {
        static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| install().map_err(|error| format!("{error:#}")));
        if let Err(error) = installed {
            bail!("needs Debian's chromium and chromium-driver: {error}");
        }
        let (driver, address) = start_driver()?;
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
            _profile: TempDir::new()?,
        };
        let profile = browser._profile.path().display();
        let profile = format!("--user-data-dir={profile}");
        let flags: Vec<_> = FLAGS.iter().copied().chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }}});
        let session = browser.command("POST", "/session", &wanted)?;
        let id = session["sessionId"].as_str().context("a session's id")?;
        browser.session = format!("/session/{id}");
        // The page that it starts with is its own, and so is what that asks for.
        browser.open("about:blank")?;
        browser.requests()?;
        Ok(browser)
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// When the browser cannot.
    pub fn open(&self, url: &str) -> Result<()> {
        self.in_session("/url", &json!({"url": url})).map(drop)
    }

    /// Runs JavaScript in the page; the value that it returns.
    ///
    /// # Errors
    /// What it throws.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.in_session("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression of JavaScript is true in the page.
    ///
    /// # Errors
    /// When it is not in time, with the page's text.
    pub fn wait_for(&self, condition: &str) -> Result<()> {
        let script = format!("return Boolean({condition})");
        let shown = retry::until(condition, SHOWN_WITHIN, || {
            (self.run(&script).ok()? == true).then_some(())
        });
        shown.with_context(|| {
            let text = self.run("return document.body.innerText");
            format!("the page shows {text:?}")
        })
    }

    /// Gives the window a screen.
    ///
    /// # Errors
    /// When the browser cannot.
    pub fn resize(&self, screen: Screen) -> Result<()> {
        let metrics = json!({
            "width": screen.width,
            "height": screen.height,
            "deviceScaleFactor": screen.scale,
            "mobile": screen.mobile,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics)?;
        let feature = json!({"name": "prefers-color-scheme", "value": screen.scheme});
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({"features": [feature]}),
        )
        .map(drop)
    }

    /// What is on the screen, as PNG.
    ///
    /// # Errors
    /// When the browser cannot.
    pub fn screenshot(&self) -> Result<Vec<u8>> {
        let shot = self.devtools("Page.captureScreenshot", &json!({"format": "png"}))?;
        let data = shot["data"].as_str().context("a picture")?;
        Ok(BASE64_STANDARD.decode(data)?)
    }

    /// Every address that the page asked for since the last call, answered or not.
    ///
    /// # Errors
    /// When the browser does not say.
    pub fn requests(&self) -> Result<Vec<String>> {
        let mut urls = Vec::new();
        for entry in self.log("performance")? {
            let entry: Value = serde_json::from_str(&entry)?;
            let event = &entry["message"];
            if event["method"] == "Network.requestWillBeSent" {
                let url = event["params"]["request"]["url"].as_str();
                urls.push(url.context("an address")?.to_owned());
            }
        }
        Ok(urls)
    }

    /// What the page complained about since the last call: errors, blocked files, broken policies.
    ///
    /// # Errors
    /// When the browser does not say.
    pub fn complaints(&self) -> Result<Vec<String>> {
        self.log("browser")
    }

    fn log(&self, kind: &str) -> Result<Vec<String>> {
        let entries = self.in_session("/se/log", &json!({"type": kind}))?;
        let entries = entries.as_array().context("a list")?;
        let texts = entries.iter().filter_map(|entry| entry["message"].as_str());
        Ok(texts.map(str::to_owned).collect())
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        let body = json!({"cmd": command, "params": parameters});
        self.in_session("/goog/cdp/execute", &body)
    }

    fn in_session(&self, path: &str, body: &Value) -> Result<Value> {
        self.command("POST", &format!("{}{path}", self.session), body)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let answer = http::send(self.address, method, path, &body, COMMAND_TIMEOUT)?;
        let mut value: Value = serde_json::from_str(&answer.body)?;
        ensure!(answer.status == 200, "{method} {path}: {}", value["value"]);
        Ok(value["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone; what is left of it goes with the driver's process group.
        let _ = self.command("DELETE", &self.session, &Value::Null);
        if let Some(group) = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}

fn install() -> Result<()> {
    let script = binary::repository().join("tests/interop/browser/install.sh");
    let output = Command::new(script).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    Ok(())
}

/// Starts the driver in a process group of its own and waits until it listens.
fn start_driver() -> Result<(Child, SocketAddr)> {
    let port = port::free()?;
    let mut driver = Command::new("chromedriver")
        .arg(format!("--port={port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start chromedriver")?;
    let stdout = driver.stdout.take().context("standard output is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let is_ready = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("started successfully"));
    ensure!(is_ready, "chromedriver ended: {:?}", driver.wait());
    // Nobody reads what else it says; a full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((driver, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}
