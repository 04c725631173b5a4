//! Targets for a fuzzer, one for each kind of decoder that is written by hand, and their corpus.
//!
//! A target takes any bytes and panics where a promise is broken: a decoder that panics itself, two that
//! disagree, output beyond its bound. The corpus, `corpus/TARGET/`, holds what real clients and brokers wrote,
//! one file of each kind, and whatever made a fuzzer find something; the tests here run all of it.

mod files;
mod groups;
mod kafka;
mod records;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What is done with an input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "kafka_request",
        run: kafka::request,
    },
    Target {
        name: "kafka_frames",
        run: kafka::frames,
    },
    Target {
        name: "consumer_metadata",
        run: groups::metadata,
    },
    Target {
        name: "consumer_assignment",
        run: groups::assignment,
    },
    Target {
        name: "record_batch",
        run: records::batch,
    },
    Target {
        name: "codec",
        run: records::codec,
    },
    Target {
        name: "group_record",
        run: records::group,
    },
    Target {
        name: "metadata_record",
        run: records::metadata,
    },
    Target {
        name: "index",
        run: files::index,
    },
    Target {
        name: "producer_snapshot",
        run: files::producer_snapshot,
    },
    Target {
        name: "log_file",
        run: files::log_file,
    },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn corpus() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
    }

    #[test]
    fn every_input_of_the_corpus_passes_its_target() {
        for target in TARGETS {
            let directory = corpus().join(target.name);
            let mut inputs = 0;
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                // Says which input it was, should the target panic.
                println!("{}", path.display());
                (target.run)(&fs::read(&path).unwrap());
                inputs += 1;
            }
            assert!(inputs > 0, "{} has no corpus", target.name);
        }
    }

    #[test]
    fn every_corpus_has_a_target() {
        for entry in fs::read_dir(corpus()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(target(&name).is_some(), "{name} has no target");
        }
    }
}
