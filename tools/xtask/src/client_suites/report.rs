//! [`Report`]: what came of all tests, as a part of a document, and what the command fails for.

use std::fmt::{self, Write as _};

use super::{
    run::{Outcome, Tested},
    suite::Suite,
};

/// The suites that ran, with their tests.
#[derive(Default)]
pub(crate) struct Report {
    suites: Vec<(&'static Suite, Vec<Tested>)>,
}

impl Report {
    /// Adds what came of all tests of a suite.
    pub(crate) fn add(&mut self, suite: &'static Suite, tests: Vec<Tested>) {
        self.suites.push((suite, tests));
    }

    /// A table in Markdown for each suite.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for (suite, tests) in &self.suites {
            let count = |is: fn(&Outcome) -> bool| tests.iter().filter(|t| is(&t.outcome)).count();
            let passed = count(|outcome| *outcome == Outcome::Passed);
            let left_out = count(|outcome| matches!(outcome, Outcome::LeftOut(_)));
            let _ = write!(
                text,
                "\n### Tests of {} {}\n\n{passed} of {} pass, {left_out} are left out.\n\n| test | |\n|---|---|\n",
                suite.package,
                suite.version,
                tests.len(),
            );
            for test in tests {
                let _ = writeln!(text, "| {} | {} |", test.name, test.outcome.in_short());
            }
        }
        text + "\n"
    }

    /// Tests that fail, and those on the list of what is left out that do not exist.
    pub(crate) fn faults(&self) -> Vec<String> {
        let faults = self.suites.iter().flat_map(|(suite, tests)| {
            let failed = tests
                .iter()
                .filter(|t| matches!(t.outcome, Outcome::Failed(_)));
            let failed = failed.map(|test| format!("{}: {} fails", suite.package, test.name));
            let names = suite.left_out.iter().map(|left_out| left_out.test);
            let gone = names.filter(|name| !tests.iter().any(|test| test.name == *name));
            let gone =
                gone.map(|name| format!("{}: {name} is left out, and not there", suite.package));
            failed.chain(gone).collect::<Vec<_>>()
        });
        faults.collect()
    }
}

impl Outcome {
    /// Without the reason of a failure, which is long.
    fn in_short(&self) -> String {
        match self {
            Self::Failed(_) => "**fails**".to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passes"),
            Self::Failed(why) => write!(f, "fails: {why}"),
            Self::LeftOut(reason) => write!(f, "left out: {reason}"),
            Self::NotRun => f.write_str("not run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_suites::suite::{LeftOut, Reason};

    const SUITE: Suite = Suite {
        package: "package",
        version: "1.2.3",
        newer: &[],
        features: &[],
        settings: &[],
        environment: &[],
        without_topics: &[],
        left_out: &[LeftOut {
            test: "binary::secured",
            reason: Reason::Sasl,
        }],
    };

    fn report(tests: &[(&str, Outcome)]) -> Report {
        let tested = |(name, outcome): &(&str, Outcome)| Tested {
            name: (*name).to_owned(),
            outcome: outcome.clone(),
        };
        let mut report = Report::default();
        report.add(&SUITE, tests.iter().map(tested).collect());
        report
    }

    #[test]
    fn a_test_that_is_left_out_is_no_fault_and_shown_with_its_reason() {
        let report = report(&[
            ("binary::plain", Outcome::Passed),
            ("binary::secured", Outcome::LeftOut(Reason::Sasl)),
        ]);
        assert_eq!(report.faults(), Vec::<String>::new());
        let text = report.text();
        assert!(
            text.contains("package 1.2.3\n\n1 of 2 pass, 1 are left out."),
            "{text}"
        );
        assert!(
            text.contains("| binary::secured | left out: needs SASL |"),
            "{text}"
        );
    }

    #[test]
    fn a_failure_is_a_fault_and_so_is_a_name_that_no_test_has_any_more() {
        let report = report(&[("binary::plain", Outcome::Failed("a reason".to_owned()))]);
        assert_eq!(
            report.faults(),
            [
                "package: binary::plain fails",
                "package: binary::secured is left out, and not there"
            ]
        );
        assert!(report.text().contains("| binary::plain | **fails** |"));
    }
}
