//! [`Targets`]: figures, each printed beside its target, and counted where it is missed.

use anyhow::{Result, bail};

/// Where the machine itself forbids a rate, this part of what it can do counts as the target.
const OF_CEILING: f64 = 0.7;

/// Figures held against their targets.
#[derive(Debug, Default)]
pub struct Targets {
    missed: Vec<String>,
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy)]
pub struct Figure<'a> {
    /// What was measured.
    pub what: &'a str,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'a str,
}

impl Targets {
    /// A rate that has to reach `least`, or seven tenths of the ceiling where that is below `least`.
    pub fn at_least(&mut self, figure: Figure<'_>, least: f64, ceiling: f64) {
        let Figure { value, unit, .. } = figure;
        let (wanted, rule) = if ceiling < least {
            (OF_CEILING * ceiling, ", 0.7 of the ceiling, which is less")
        } else {
            (least, "")
        };
        let target = format!("at least {least:.0} {unit}{rule}; ceiling {ceiling:.0} {unit}");
        self.print(figure, value >= wanted, &target);
    }

    /// A time or size that must not pass `most`.
    pub fn at_most(&mut self, figure: Figure<'_>, most: f64, why: &str) {
        let target = format!("at most {most:.1} {}{why}", figure.unit);
        self.print(figure, figure.value <= most, &target);
    }

    fn print(&mut self, figure: Figure<'_>, is_met: bool, target: &str) {
        let Figure { what, value, unit } = figure;
        let verdict = if is_met { "met" } else { "MISSED" };
        let line = format!("{what}: {value:.1} {unit} (target {target}: {verdict})");
        println!("{line}");
        if !is_met {
            self.missed.push(line);
        }
    }

    /// Fails where `enforced` and a target was missed.
    ///
    /// # Errors
    /// Names what was missed.
    pub fn finish(self, enforced: bool) -> Result<()> {
        if enforced && !self.missed.is_empty() {
            bail!("targets missed:\n{}", self.missed.join("\n"));
        }
        Ok(())
    }
}
