//! What is supplied to run the daemon on other machines: the systemd unit and the Dockerfile.
//!
//! Neither systemd nor a container engine runs here. What the files promise is tried with the daemon:
//! their commands, their environment, a root file system that cannot be written.

use std::{
    collections::BTreeMap,
    env, fs,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{Cli, Daemon, DaemonOptions, Native, binary, daemon_path, native, port};
use rustix::process::{Pid, Signal};

const UNIT: &str = "config/millstreamd.service";
const DOCKERFILE: &str = "config/Dockerfile";
/// How long the daemon may take to tell systemd something.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

fn read(path: &str) -> Result<String> {
    fs::read_to_string(binary::repository().join(path)).context(path.to_owned())
}

/// The settings of the unit, by section and key; of a key that is there twice, the last.
fn unit() -> Result<BTreeMap<String, String>> {
    let (text, mut section) = (read(UNIT)?, "");
    let mut settings = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let (key, value) = line.split_once('=').with_context(|| line.to_owned())?;
        settings.insert(format!("{section}.{key}"), value.to_owned());
    }
    Ok(settings)
}

/// The unit's command with this machine's paths, and its data directory.
fn unit_command(unit: &BTreeMap<String, String>, data_dir: &Path) -> Result<Command> {
    let mut words = unit["Service.ExecStart"].split(' ');
    ensure!(words.next() == Some("/usr/bin/millstreamd"), "{unit:?}");
    let state = format!("/var/lib/{}", unit["Service.StateDirectory"]);
    let mut command = Command::new(daemon_path()?);
    for word in words {
        let (flag, value) = word.split_once('=').with_context(|| word.to_owned())?;
        let value = match value {
            "/etc/millstream/millstreamd.toml" => {
                binary::repository().join("config/millstreamd.toml")
            }
            value if value == state => data_dir.to_owned(),
            value => anyhow::bail!("{flag}={value} is neither configuration nor state"),
        };
        command.arg(format!("{flag}={}", value.display()));
    }
    for listener in ["native", "kafka", "http"] {
        let port = port::free()?;
        command.arg(format!(
            "--set=listeners.{listener}_address=127.0.0.1:{port}"
        ));
    }
    Ok(command)
}

#[test]
fn the_units_command_starts_a_daemon_that_tells_systemd_what_it_does() -> Result<()> {
    let unit = unit()?;
    assert_eq!(unit["Service.Type"], "notify");
    assert_eq!(unit["Service.DynamicUser"], "yes");
    assert_eq!(unit["Service.ProtectSystem"], "strict");
    let work = tempfile::tempdir()?;
    let socket = work.path().join("notify");
    let systemd = UnixDatagram::bind(&socket)?;
    systemd.set_read_timeout(Some(TOLD_WITHIN))?;
    let told = || -> Result<String> {
        let mut buffer = [0; 4096];
        let length = systemd.recv(&mut buffer)?;
        Ok(String::from_utf8(buffer[..length].to_vec())?)
    };
    let mut daemon = unit_command(&unit, &work.path().join("data"))?
        .env("NOTIFY_SOCKET", &socket)
        .spawn()?;
    let ready = told();
    let pid = Pid::from_child(&daemon);
    rustix::process::kill_process(pid, Signal::TERM)?;
    let stopping = told();
    let status = daemon.wait()?;
    ensure!(ready?.contains("READY=1"));
    ensure!(stopping?.contains("STOPPING=1"));
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn the_unit_gives_the_daemon_time_to_stop_and_does_not_repeat_refusals() -> Result<()> {
    let unit = unit()?;
    let mut command = unit_command(&unit, Path::new("/proc/nowhere"))?;
    let refused = command
        .output()?
        .status
        .code()
        .context("it ends by itself")?;
    assert_eq!(
        unit["Service.RestartPreventExitStatus"],
        refused.to_string()
    );
    let config = read("config/millstreamd.toml")?;
    let timeout = config.lines().find_map(|line| {
        line.strip_prefix("shutdown_timeout = \"")?
            .strip_suffix("s\"")
    });
    let timeout: u64 = timeout.context("seconds")?.parse()?;
    ensure!(unit["Service.TimeoutStopSec"].parse::<u64>()? > 2 * timeout);
    Ok(())
}

/// Where systemd's own checker is installed, it has nothing to say; it is a stricter second opinion.
#[test]
fn systemd_analyze_finds_nothing_wrong_with_the_unit() -> Result<()> {
    let work = tempfile::tempdir()?;
    let file = work.path().join("millstreamd.service");
    let daemon = daemon_path()?;
    let text = read(UNIT)?.replace("/usr/bin/millstreamd", &daemon.display().to_string());
    fs::write(&file, text)?;
    match Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output()
    {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("systemd-analyze is not installed: only the other tests looked at the unit");
        }
        output => {
            let output = output?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success() && said.is_empty(), "{said}");
        }
    }
    Ok(())
}

/// An instruction of the Dockerfile and what follows it, lines joined.
fn instructions() -> Result<Vec<(String, String)>> {
    let text = read(DOCKERFILE)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter_map(|line| line.split_once(' '));
    let words = |rest: &str| rest.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(instructions
        .map(|(instruction, rest)| (instruction.to_owned(), words(rest)))
        .collect())
}

/// What follows the last instruction of that name.
fn last(instruction: &str) -> Result<String> {
    let all = instructions()?.into_iter().rev();
    let mut found = all.filter(|(name, _)| name == instruction);
    Ok(found.next().with_context(|| instruction.to_owned())?.1)
}

/// The words of a command in JSON form.
fn words(json: &str) -> Result<Vec<String>> {
    let start = json.find('[').context("a command in JSON form")?;
    Ok(serde_json::from_str(&json[start..])?)
}

#[test]
fn the_images_command_and_environment_are_the_daemons() -> Result<()> {
    let entry = words(&last("ENTRYPOINT")?)?;
    assert_eq!(entry[0], "/usr/bin/millstreamd");
    assert_eq!(entry[1], format!("--data-dir={}", last("VOLUME")?));
    let environment = last("ENV")?;
    let variables = environment
        .split(' ')
        .filter_map(|pair| pair.split_once('='));
    let output = Command::new(daemon_path()?)
        .args(&entry[1..])
        .arg("--print-config")
        .envs(variables)
        .output()?;
    let printed = String::from_utf8(output.stdout)?;
    for line in [
        "data_dir = \"/var/lib/millstream\"",
        "listeners.native_address = \"0.0.0.0:9192\"",
        "listeners.kafka_address = \"0.0.0.0:9092\"",
        "listeners.http_address = \"0.0.0.0:9292\"",
    ] {
        ensure!(printed.contains(line), "{line} in {printed}");
    }
    assert_eq!(last("EXPOSE")?, "9092 9192 9292");
    let user = last("USER")?;
    let id: u32 = user.split(':').next().context("a user")?.parse()?;
    ensure!(id > 0, "it runs as root");
    Ok(())
}

#[test]
fn the_images_health_check_tells_a_broker_that_serves_from_one_that_does_not() -> Result<()> {
    let check = words(&last("HEALTHCHECK")?)?;
    assert_eq!(check[0], "/usr/bin/millstream");
    let mut daemon = Daemon::start()?;
    let healthy = Cli::new(&daemon, &check[1..])?.run()?;
    ensure!(healthy.status.success(), "{healthy:?}");
    daemon.kill()?;
    let dead = Cli::new(&daemon, &check[1..])?.run()?;
    ensure!(!dead.status.success(), "{dead:?}");
    Ok(())
}

#[test]
fn the_image_is_built_by_our_toolchain_from_what_is_not_ignored() -> Result<()> {
    let toolchain = read("rust-toolchain.toml")?;
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \""));
    let channel = channel.context("a channel")?.trim_end_matches('"');
    let images = instructions()?;
    let (_, image) = images
        .iter()
        .find(|(name, _)| name == "FROM")
        .context("an image")?;
    ensure!(image.starts_with(&format!("rust:{channel}-")), "{image}");
    let copied = images.iter().filter(|(name, _)| name == "COPY");
    let binaries = copied.flat_map(|(_, rest)| rest.split(' '));
    let binaries: Vec<_> = binaries
        .filter_map(|word| word.strip_prefix("/src/target/release/"))
        .collect();
    assert_eq!(binaries, ["millstreamd", "millstream"]);

    let ignored = read(".dockerignore")?;
    let ignored: Vec<_> = ignored
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| binary::repository().join(line))
        .collect();
    let context = tempfile::tempdir()?;
    copy(binary::repository(), context.path(), &ignored)?;
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "tree",
            "--package=millstream-broker",
            "--locked",
            "--offline",
        ])
        .current_dir(context.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

fn copy(from: &Path, to: &Path, ignored: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if ignored.contains(&source) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => copy(&source, &target, ignored)?,
            false => drop(fs::copy(&source, &target)?),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_daemon_needs_to_write_nowhere_but_to_its_data_directory() -> Result<()> {
    let mut daemon = DaemonOptions::default()
        .read_only_root()
        .start()
        .context("needs a mount namespace: root, or unprivileged user namespaces")?;
    let root = PathBuf::from(format!("/proc/{}/root", daemon.pid()));
    let refused = fs::write(root.join("millstream-was-here"), "").map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::ReadOnlyFilesystem));
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("kept", 1, &[]).await?;
    let batch = native::batch(Default::default(), 1, ["one"]);
    client.produce().await?.produce(&topic_id, 0, batch).await?;
    let found = client.fetch().await?.read_to_end(&topic_id, 0, 0).await?;
    assert_eq!(found.len(), 1);
    ensure!(daemon.terminate()?.success(), "{}", daemon.log_tail());
    Ok(())
}
