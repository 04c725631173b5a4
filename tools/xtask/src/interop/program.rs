//! Programs of the run: [`run`] to their end, with a limit, as a [`Member`] whose records are read while it
//! runs, or as a [`Service`]. Each is a process group of its own, so that what it started ends with it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::record::Record;

/// Machines are shared: far more than any program needs.
const RUN_MAX: Duration = Duration::from_secs(120);
const LEAVE_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// What is shown of a failed program's standard error.
const SHOWN_BYTES: usize = 1_500;

/// What a program printed.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot start, fails, or takes more than two minutes.
pub(crate) fn run(command: &Command, input: &[u8]) -> Result<Output> {
    let mut child = start(command)?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let stderr = child.stderr.take().context("its errors are piped")?;
    thread::scope(|scope| {
        let stdout = scope.spawn(move || read(stdout));
        let stderr = scope.spawn(move || read(stderr));
        // A program that ends before it has read everything says so with its status.
        scope.spawn(move || drop(stdin.write_all(input)));
        let status = wait(&mut child, RUN_MAX);
        kill_group(&child)?;
        let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("it reads only"));
        let status = status.with_context(|| {
            let lines = stdout.lines().count();
            format!("it printed {lines} lines, and said: {}", tail(&stderr))
        })?;
        ensure!(
            status.success(),
            "{}: {status}: {} {}",
            name(command),
            tail(&stderr),
            tail(&stdout)
        );
        Ok(Output { stdout, stderr })
    })
}

/// A consumer that runs until it is told to leave. Dropping it kills it.
pub(crate) struct Member {
    child: Child,
    stdin: Option<ChildStdin>,
    seen: Arc<Mutex<Vec<Record>>>,
    readers: Vec<JoinHandle<()>>,
    errors: Arc<Mutex<String>>,
}

impl Member {
    /// Starts a client's `consume` without `--count`.
    ///
    /// # Errors
    /// When it cannot start.
    pub(crate) fn start(command: &Command) -> Result<Self> {
        let mut child = start(command)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("its output is piped")?;
        let stderr = child.stderr.take().context("its errors are piped")?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let errors = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            thread::spawn({
                let (seen, errors) = (Arc::clone(&seen), Arc::clone(&errors));
                move || {
                    each_line(stdout, |line| match Record::parse(&line) {
                        Ok(record) => lock(&seen).push(record),
                        Err(error) => *lock(&errors) += &format!("{error:#}\n"),
                    })
                }
            }),
            thread::spawn({
                let errors = Arc::clone(&errors);
                move || each_line(stderr, |line| *lock(&errors) += &(line + "\n"))
            }),
        ];
        Ok(Self {
            child,
            stdin,
            seen,
            readers,
            errors,
        })
    }

    /// What it has read so far.
    pub(crate) fn seen(&self) -> Vec<Record> {
        lock(&self.seen).clone()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it does not: what it said.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a member ended: {status}: {}", tail(&lock(&self.errors))),
        }
    }

    /// Kills it at once, and what it started; what it has printed is read.
    ///
    /// # Errors
    /// When it was gone.
    pub(crate) fn kill(mut self) -> Result<Vec<Record>> {
        self.check()?;
        kill_group(&self.child)?;
        self.child.wait()?;
        Ok(self.finished())
    }

    /// Has it leave its group and end; answers all that it has read.
    ///
    /// # Errors
    /// When it fails, or takes more than a minute.
    pub(crate) fn leave(mut self) -> Result<Vec<Record>> {
        drop(self.stdin.take());
        let status = wait(&mut self.child, LEAVE_MAX)
            .with_context(|| format!("a member does not leave: {}", tail(&lock(&self.errors))))?;
        let seen = self.finished();
        ensure!(
            status.success(),
            "a member left with {status}: {}",
            tail(&lock(&self.errors))
        );
        Ok(seen)
    }

    fn finished(&mut self) -> Vec<Record> {
        for reader in self.readers.drain(..) {
            reader.join().expect("it reads only");
        }
        self.seen()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may be gone: then there is nothing to kill, nor anybody to tell.
        drop(kill_group(&self.child));
        drop(self.child.wait());
    }
}

/// A program that runs until it is stopped. Dropping it kills it.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it; what it says goes to `log`.
    ///
    /// # Errors
    /// When it cannot start.
    pub(crate) fn start(command: &Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let child = bound(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {} (needs setpriv of util-linux)",
                    name(command)
                )
            })?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it does not: what it said.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("it ended: {status}: {}", tail(&said))
            }
        }
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// When it was gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.check()?;
        kill_group(&self.child)?;
        self.child.wait()?;
        Ok(())
    }

    /// Has it end.
    ///
    /// # Errors
    /// When it was gone, or does not end in a minute.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.check()?;
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no process is 0")?;
        kill_process(pid, Signal::TERM)?;
        wait(&mut self.child, LEAVE_MAX).map(drop)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may be gone: then there is nothing to kill, nor anybody to tell.
        drop(kill_group(&self.child));
        drop(self.child.wait());
    }
}

/// The command in a process group of its own, and killed when this process ends, however it does.
fn bound(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .process_group(0);
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(variable, value),
            None => bound.env_remove(variable),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

/// Starts a program with all its streams piped.
fn start(command: &Command) -> Result<Child> {
    bound(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "cannot start {} (needs setpriv of util-linux)",
                name(command)
            )
        })
}

/// Waits for a program's end; one that takes too long is killed with what it started.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > limit {
            kill_group(child)?;
            child.wait()?;
            bail!("took more than {} s and was killed", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// Kills whoever is left of a program's process group.
fn kill_group(child: &Child) -> Result<()> {
    let group = Pid::from_raw(i32::try_from(child.id())?).context("no process is 0")?;
    match kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot kill a process group"),
    }
}

fn read(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("cannot read its output: {error}"),
    }
}

fn each_line(stream: impl Read, mut take: impl FnMut(String)) {
    for line in BufReader::new(stream).lines() {
        take(line.unwrap_or_else(|error| format!("cannot read its output: {error}")));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// The end of what a program said, in one line.
fn tail(text: &str) -> String {
    let text: Vec<_> = text.split_whitespace().collect();
    let text = text.join(" ");
    let start = text.len().saturating_sub(SHOWN_BYTES);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    start
        .and_then(|start| text.get(start..))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn program_gets_its_input_and_failure_says_why() {
        let output = run(&shell("cat; echo aside >&2"), b"input").expect("runs");
        assert_eq!(output.stdout, "input");
        assert_eq!(output.stderr, "aside\n");
        let told = run(shell("printf %s $WORD").env("WORD", "told"), b"").expect("runs");
        assert_eq!(told.stdout, "told");
        let error = run(&shell("echo why >&2; exit 3"), b"")
            .err()
            .expect("fails");
        assert!(error.to_string().contains("exit status: 3: why"), "{error}");
    }

    #[test]
    fn program_that_takes_too_long_is_killed_with_what_it_started() {
        let mut child = start(&shell("sleep 600 & wait")).expect("starts");
        assert!(wait(&mut child, Duration::from_millis(50)).is_err());
        let output = read(child.stdout.take().expect("piped"));
        assert_eq!(output, "", "the sleep holds the pipe no longer");
    }

    #[test]
    fn member_is_read_while_it_runs_and_leaves_when_told() {
        let line = Record::of("key", "value").line().expect("JSON");
        let mut member = Member::start(&shell(&format!("printf '{line}'; cat"))).expect("starts");
        while member.seen().is_empty() {
            member.check().expect("it waits for its input to end");
            thread::sleep(POLL);
        }
        assert_eq!(member.leave().expect("leaves").len(), 1);
        let member = Member::start(&shell("cat; exit 1")).expect("starts");
        assert!(member.leave().is_err());
    }
}
