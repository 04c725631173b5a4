//! `cargo xtask config --check`: `config/millstreamd.toml` names every key of the daemon with its
//! default. The daemon itself says what both are, so this knows no key.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{build::Build, refusal::Refusal};

const FILE: &str = "config/millstreamd.toml";

/// Values and sources of `--print-config`, by key.
type Printed = BTreeMap<String, (String, String)>;

/// Compares the file with the defaults of the daemon.
///
/// # Errors
/// When the daemon is missing or refuses the file, or on the first difference.
pub(crate) fn check(root: &Path) -> Result<()> {
    let daemon = daemon(root)?;
    let defaults = print_config(&daemon, &[])?;
    let file = root.join(FILE);
    let from_file = print_config(&daemon, &["--config".as_ref(), file.as_ref()])?;
    compare(&defaults, &from_file)?;
    println!(
        "config: {} keys, each in {FILE} with its default",
        defaults.len()
    );
    Ok(())
}

/// The daemon that is asked: `MILLSTREAMD`, else the `ci` build.
///
/// # Errors
/// When it is missing.
pub(crate) fn daemon(root: &Path) -> Result<PathBuf> {
    let daemon =
        env::var_os("MILLSTREAMD").map_or_else(|| Build::Ci.binaries(root).daemon, PathBuf::from);
    if !daemon.is_file() {
        let hint = "cargo build --profile ci --package millstream-broker";
        return Err(Refusal::error(
            format!("{} is missing", daemon.display()),
            hint,
        ));
    }
    Ok(daemon)
}

fn print_config(daemon: &Path, arguments: &[&Path]) -> Result<Printed> {
    let mut command = Command::new(daemon);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("MILLSTREAM_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).arg("--print-config").output()?;
    if !output.status.success() {
        bail!(
            "{} --print-config: {}\n{}",
            daemon.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&String::from_utf8(output.stdout)?)
}

/// Lines like `network.read_timeout = "5s"  # default`.
fn parse(printed: &str) -> Result<Printed> {
    printed
        .lines()
        .map(|line| {
            let (setting, source) = line.rsplit_once("  # ").context("no source")?;
            let (key, value) = setting.split_once(" = ").context("no value")?;
            Ok((key.to_owned(), (value.to_owned(), source.to_owned())))
        })
        .collect::<Result<_>>()
        .with_context(|| format!("--print-config printed:\n{printed}"))
}

fn compare(defaults: &Printed, from_file: &Printed) -> Result<()> {
    if defaults.is_empty() {
        bail!("the daemon has no key");
    }
    for (key, (default, _)) in defaults {
        let Some((value, source)) = from_file.get(key) else {
            bail!("{key} is not printed with {FILE}");
        };
        if value != default {
            bail!("{key} is {value} in {FILE}, its default is {default}");
        }
        if source == "default" {
            bail!("{key} is missing in {FILE}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: &str, source: &str) -> Printed {
        parse(&format!("a.b = {value}  # {source}\n")).expect("valid")
    }

    #[test]
    fn a_key_that_differs_or_is_missing_is_found() {
        let defaults = printed("\"5s\"", "default");
        assert!(compare(&defaults, &printed("\"5s\"", "file")).is_ok());
        assert!(compare(&defaults, &printed("\"6s\"", "file")).is_err());
        assert!(compare(&defaults, &printed("\"5s\"", "default")).is_err());
        assert!(compare(&defaults, &Printed::new()).is_err());
        assert!(compare(&Printed::new(), &Printed::new()).is_err());
    }
}
