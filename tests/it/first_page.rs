//! The first page in a real browser: what it shows, that it follows the broker, and what it must not do.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{
    Browser, Cli, Daemon, DaemonOptions, Native, Screen, binary, cli_path, flights::Flights, http,
    native, retry,
};
use serde_json::Value;

const DESK: Screen = Screen {
    width: 1280,
    height: 850,
    scale: 1,
    mobile: false,
    scheme: "light",
};
const PHONE: Screen = Screen {
    width: 390,
    height: 844,
    scale: 2,
    mobile: true,
    scheme: "dark",
};
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long what happened may take until the overview tells it.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Every kind of character that a topic's name may have.
const ODD_NAME: &str = "0dd.Topic_name--9.";
/// A group's id may hold any character. As HTML this one would show in `window.opened`.
const HOSTILE_GROUP: &str = "<script>opened = 1</script><img src=x onerror=\"opened = 2\">&lt;";

fn cli(daemon: &Daemon, line: &str) -> Result<String> {
    Ok(String::from_utf8(
        Cli::new(daemon, line.split(' '))?.stdout()?,
    )?)
}

/// Produces `count` numbered lines.
fn produce(daemon: &Daemon, topic: &str, count: usize) -> Result<()> {
    let lines: String = (0..count)
        .map(|number| format!("line {number}\n"))
        .collect();
    Cli::new(daemon, ["produce", topic])?
        .input(lines)
        .stdout()?;
    Ok(())
}

fn overview(address: SocketAddr, query: &str) -> Result<Value> {
    let path = format!("/api/v1/overview{query}");
    let answer = http::get(address, &path, ANSWER_WITHIN)?;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(serde_json::from_str(&answer.body)?)
}

/// A process that reads a topic as a member of a group until it is dropped.
struct Member(Child);

impl Member {
    fn start(daemon: &Daemon, topic: &str, group: &str) -> Result<Self> {
        let member = Command::new(cli_path()?)
            .args(["consume", topic, "--group", group, "--follow"])
            .env("MILLSTREAM_SERVER", daemon.native().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self(member))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A browser that has the page of a daemon open.
struct Page {
    browser: Browser,
    url: String,
}

impl Page {
    fn open(daemon: &Daemon) -> Result<Self> {
        let browser = Browser::start()?;
        let url = format!("http://{}/", daemon.http());
        browser.resize(DESK)?;
        browser.open(&url)?;
        // Gone after a reload.
        browser.run("window.opened = true")?;
        Ok(Self { browser, url })
    }

    /// Waits until `field` in the row of a topic or group shows `text`.
    fn wait_for_cell(&self, table: &str, row: &str, field: &str, text: &str) -> Result<()> {
        let row = Value::from(row);
        let condition = format!(
            "[...document.querySelectorAll('#{table} tbody tr')].find((row) => row.dataset.key === {row})\
             ?.querySelector('[data-field={field}]')?.textContent === {}",
            Value::from(text)
        );
        self.browser.wait_for(&condition)
    }

    fn wait_for_text(&self, selector: &str, text: &str) -> Result<()> {
        let text = Value::from(text);
        let condition = format!("document.querySelector('{selector}').innerText.includes({text})");
        self.browser.wait_for(&condition)
    }

    /// Nothing was asked of anybody but the daemon, nothing was blocked, nothing broke.
    fn assert_at_home(&self) -> Result<()> {
        let requests = self.browser.requests()?;
        ensure!(requests.len() > 5, "the requests are seen: {requests:?}");
        for request in requests {
            ensure!(request.starts_with(&self.url), "{request} was asked for");
        }
        let complaints = self.browser.complaints()?;
        ensure!(complaints.is_empty(), "{complaints:?}");
        Ok(())
    }

    fn assert_fits(&self, screen: Screen) -> Result<()> {
        self.browser.resize(screen)?;
        let width = self
            .browser
            .run("return document.documentElement.scrollWidth")?;
        ensure!(width == screen.width, "{width} wide on {screen:?}");
        Ok(())
    }
}

#[test]
fn the_page_follows_the_broker_without_a_reload() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let page = Page::open(&daemon)?;
    page.wait_for_text("#topics .empty", "No topics yet")?;
    run_what_the_empty_page_says(&page, &daemon)?;
    page.wait_for_cell("topics", "greetings", "records", "1")?;

    cli(&daemon, &format!("topics create {ODD_NAME} --partitions 3"))?;
    produce(&daemon, ODD_NAME, 1_000)?;
    page.wait_for_cell("topics", ODD_NAME, "records", "1,000")?;
    page.wait_for_cell("topics", ODD_NAME, "partitions", "3")?;
    page.wait_for_cell("topics", ODD_NAME, "durability", "fsync")?;
    page.browser.wait_for(
        "!document.querySelector('#bytes-in .aside').textContent.startsWith('peak 0 B')",
    )?;
    produce(&daemon, ODD_NAME, 500)?;
    page.wait_for_cell("topics", ODD_NAME, "end", "1,500")?;
    cli(&daemon, &format!("consume {ODD_NAME}"))?;
    page.browser.wait_for(
        "!document.querySelector('#bytes-out .aside').textContent.startsWith('peak 0 B')",
    )?;
    page.browser
        .wait_for("document.querySelector('#bytes-in path.line').getAttribute('d') !== ''")?;

    a_hostile_group_is_text(&page, &daemon)?;
    page.assert_fits(PHONE)?;
    page.assert_fits(DESK)?;
    page.assert_at_home()?;

    daemon.kill()?;
    page.wait_for_text("#alerts", "does not answer")?;
    daemon.restart()?;
    page.browser
        .wait_for("document.querySelector('#alerts').innerText === ''")?;
    page.wait_for_cell("topics", ODD_NAME, "end", "1,500")?;
    ensure!(
        page.browser.run("return window.opened")? == true,
        "reloaded"
    );
    Ok(())
}

/// The group reads 400 of the 1,500 records, then all that are left.
fn a_hostile_group_is_text(page: &Page, daemon: &Daemon) -> Result<()> {
    page.wait_for_text("#groups .empty", "No consumer groups yet")?;
    let consume = ["consume", ODD_NAME, "--group", HOSTILE_GROUP];
    Cli::new(daemon, consume.iter().chain(&["--limit", "400"]))?.stdout()?;
    for (field, text) in [("state", "Empty"), ("members", "0"), ("lag", "1,100")] {
        page.wait_for_cell("groups", HOSTILE_GROUP, field, text)?;
    }
    let _member = Member::start(daemon, ODD_NAME, HOSTILE_GROUP)?;
    for (field, text) in [("state", "Stable"), ("members", "1"), ("lag", "0")] {
        page.wait_for_cell("groups", HOSTILE_GROUP, field, text)?;
    }
    let metrics = daemon.metrics()?;
    let escaped = HOSTILE_GROUP.replace('"', "\\\"");
    let lag = format!("millstream_group_lag{{group=\"{escaped}\",topic=\"{ODD_NAME}\"}}");
    ensure!(
        http::metric(&metrics, &lag) == Some(0.0),
        "{lag} in {metrics}"
    );
    let markup = "return document.querySelectorAll('#groups script, #groups img').length";
    ensure!(page.browser.run(markup)? == 0, "a group's id became HTML");
    Ok(())
}

/// The commands work as they stand there.
fn run_what_the_empty_page_says(page: &Page, daemon: &Daemon) -> Result<()> {
    let script = "return document.querySelector('#topics .empty pre').textContent";
    let commands = page.browser.run(script)?;
    let commands = commands.as_str().context("commands")?;
    ensure!(
        commands.contains(&daemon.native().to_string()),
        "{commands}"
    );
    let cli = cli_path()?;
    let folder = cli.parent().context("a folder")?;
    let path = std::env::var("PATH")?;
    let output = Command::new("sh")
        .args(["-ec", commands])
        .env("PATH", format!("{}:{path}", folder.display()))
        .output()?;
    ensure!(output.status.success(), "{commands}: {output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_person_stands_on_top() -> Result<()> {
    let mut daemon = DaemonOptions::default()
        .tmpfs(48 << 20)
        .set("log.disk_reserve", "1MiB")
        .env("MILLSTREAM_TEST_IO", "fail:sync-data:eio:broken-0/0")
        .start()
        .context("needs a mount namespace with a tmpfs: root, or unprivileged user namespaces")?;
    let page = Page::open(&daemon)?;
    let client = Native::connect(daemon.native()).await?;
    let refused = |topic_id| {
        let client = client.clone();
        async move {
            let batch = native::batch(Default::default(), 1, [vec![7; 64 << 10]]);
            client
                .produce()
                .await
                .ok()?
                .produce(&topic_id, 0, batch)
                .await
                .err()
        }
    };
    let broken = client.create_topic("broken", 1, &[]).await?;
    refused(broken).await.context("its flush fails")?;
    page.wait_for_text("#alerts", "1 partition offline")?;
    page.wait_for_text("#alerts", "broken-0")?;
    page.wait_for_cell("topics", "broken", "offline", "1 offline")?;

    let whole = client.create_topic("whole", 1, &[]).await?;
    fill(&daemon.data_dir_inside().join("filler"))?;
    retry::until_async("the disk is full", SEEN_WITHIN, || refused(whole.clone())).await?;
    page.wait_for_text("#alerts", "The disk is full")?;
    page.assert_fits(PHONE)?;

    fs::remove_file(daemon.data_dir_inside().join("filler"))?;
    page.browser
        .wait_for("!document.querySelector('#alerts').innerText.includes('The disk is full')")?;
    page.assert_at_home()?;
    daemon.kill()
}

/// A broker with work to do fits every screen. With `MILLSTREAM_SCREENSHOTS` set it works for three
/// minutes, and the pictures of it in `docs/` are taken anew.
#[test]
fn a_busy_broker_fits_on_a_desk_and_in_a_hand() -> Result<()> {
    let is_for_docs = env::var_os("MILLSTREAM_SCREENSHOTS").is_some();
    let home = tempfile::Builder::new()
        .prefix("millstream")
        .rand_bytes(6 * usize::from(!is_for_docs))
        .tempdir()?;
    let daemon = DaemonOptions::default()
        .data_dir(home.path().join("data"))
        .start()?;
    cli(
        &daemon,
        "topics create flights --partitions 8 --config retention.ms=-1",
    )?;
    cli(
        &daemon,
        "topics create aircraft.positions --partitions 4 --config millstream.durability=replicated",
    )?;
    cli(
        &daemon,
        "topics create carriers --config cleanup.policy=compact",
    )?;
    let flights = Flights::sample()?;
    for topic in ["flights", "carriers"] {
        let produce = ["produce", topic, "--format", "csv", "--key", "carrier"];
        Cli::new(&daemon, produce)?.input(flights.text()).stdout()?;
    }
    cli(
        &daemon,
        "offsets commit archive --topic carriers --partition 0 --offset 22992",
    )?;
    let _members = [
        Member::start(&daemon, "flights", "per-airline-counts")?,
        Member::start(&daemon, "flights", "per-airline-counts")?,
        Member::start(&daemon, "flights", "per-airline-counts")?,
        Member::start(&daemon, "aircraft.positions", "delay-alerts")?,
    ];
    let page = Page::open(&daemon)?;
    let rounds = if is_for_docs { 18 } else { 1 };
    for round in 0..rounds {
        let produce = |topic, rate: u32| {
            let rate = rate + 97 * (round * round % 7);
            let line = format!(
                "bench produce --topic {topic} --record-bytes 110 --rate {rate} --records {}",
                10 * rate
            );
            cli(&daemon, &line)
        };
        std::thread::scope(|scope| -> Result<()> {
            let positions = scope.spawn(|| produce("aircraft.positions", 600));
            produce("flights", 1_500)?;
            positions.join().expect("no panic").map(drop)
        })?;
    }
    page.wait_for_cell("groups", "per-airline-counts", "members", "3")?;
    page.wait_for_cell("groups", "archive", "lag", "4,012")?;
    for (screen, name) in [(DESK, "first-page.png"), (PHONE, "first-page-phone.png")] {
        page.assert_fits(screen)?;
        let picture = page.browser.screenshot()?;
        if is_for_docs {
            fs::write(binary::repository().join("docs").join(name), picture)?;
        }
    }
    page.assert_at_home()
}

/// Takes all the room there is.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    while file.write_all(&[1; 4 << 10]).is_ok() {}
    Ok(())
}

/// Four digits, and more rows than the page shows at once.
const MANY_TOPICS: usize = 1_000;
/// From small phones to a tablet held upright.
const WIDTHS: [u32; 5] = [320, 360, 412, 768, 860];

#[tokio::test(flavor = "multi_thread")]
async fn many_topics_fit_on_every_narrow_screen() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    for number in 0..MANY_TOPICS {
        let name = format!("topic-of-a-rather-common-length-{number}");
        client.create_topic(&name, 1, &[]).await?;
    }
    let page = Page::open(&daemon)?;
    page.wait_for_text("#topics .head", "1,000")?;
    for width in WIDTHS {
        page.assert_fits(Screen { width, ..PHONE })?;
    }
    // The groups are one tap away, however many topics there are.
    let jumps = "const link = document.querySelector('.jump'); link.click(); \
                 const top = document.querySelector('#groups').getBoundingClientRect().top; \
                 return link.offsetWidth > 0 && top < innerHeight";
    page.browser.resize(PHONE)?;
    ensure!(page.browser.run(jumps)? == Value::Bool(true));
    Ok(())
}

#[test]
fn the_overview_counts_what_clients_did_and_finds_by_name() -> Result<()> {
    let daemon = Daemon::start()?;
    cli(&daemon, "topics create flights --partitions 2")?;
    cli(
        &daemon,
        "topics create carriers --config cleanup.policy=compact",
    )?;
    produce(&daemon, "flights", 300)?;
    cli(&daemon, "consume flights")?;
    let seen = overview(daemon.http(), "")?;
    let rows = seen["topics"]["rows"].as_array().context("rows")?;
    let names: Vec<_> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["carriers", "flights"]);
    let (carriers, flights) = (&rows[0], &rows[1]);
    assert_eq!(carriers["cleanup_policy"], "compact");
    for (field, expected) in [("partitions", 2), ("records", 300), ("log_end", 300)] {
        assert_eq!(flights[field], expected, "{field}");
    }
    let traffic = &flights["traffic"];
    assert_eq!(traffic["produced_records"], 300);
    assert_eq!(traffic["fetched_records"], 300);
    assert_eq!(traffic["produced_bytes"], flights["size_bytes"]);
    assert_eq!(traffic["fetched_bytes"], flights["size_bytes"]);
    assert_eq!(seen["disk"]["log_bytes"], flights["size_bytes"]);

    let found = overview(daemon.http(), "?find=FLI%67")?;
    assert_eq!(found["topics"]["found"], 1);
    assert_eq!(found["topics"]["total"], 2);
    assert_eq!(found["topics"]["rows"][0]["name"], "flights");
    retry::until("the traffic is in the samples", SEEN_WITHIN, || {
        let seen = overview(daemon.http(), "").ok()?;
        let has_moved = |field: &str| {
            let samples = seen["throughput"][field].as_array();
            samples.is_some_and(|samples| samples.iter().any(|rate| rate.as_u64() > Some(0)))
        };
        (has_moved("produced_records") && has_moved("fetched_bytes")).then_some(())
    })?;
    Ok(())
}

/// After a clean stop partitions are opened when they are used. A look must not take seconds for it.
#[test]
fn a_look_opens_only_so_many_partitions_to_learn_their_size() -> Result<()> {
    let mut daemon = Daemon::start()?;
    cli(&daemon, "topics create wide --partitions 600")?;
    produce(&daemon, "wide", 1_000)?;
    let size = |daemon: &Daemon| -> Result<Value> {
        Ok(overview(daemon.http(), "")?["topics"]["rows"][0]["size_bytes"].take())
    };
    let before = size(&daemon)?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log_tail());
    daemon.restart()?;
    assert_eq!(size(&daemon)?, Value::Null, "600 partitions at once");
    assert_eq!(size(&daemon)?, before);
    Ok(())
}

#[test]
fn the_page_comes_with_a_policy_that_forbids_everything_else() -> Result<()> {
    let daemon = Daemon::start()?;
    for path in [
        "/",
        "/page.js",
        "/page.css",
        "/icon.svg",
        "/api/v1/overview",
    ] {
        let answer = http::get(daemon.http(), path, ANSWER_WITHIN)?;
        let headers = answer.headers.to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            ensure!(headers.contains(header), "{path}: {header} in {headers}");
        }
    }
    Ok(())
}
