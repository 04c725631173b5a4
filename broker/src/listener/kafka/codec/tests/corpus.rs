//! The corpus of the fuzzer (`tests/fuzz/corpus/kafka_request`) has a request of each API, in its first version
//! and its last. `MILLSTREAM_WRITE_CORPUS=1` writes them anew.

use std::{fs, path::Path};

use super::sample::Sample;
use crate::listener::kafka::codec::apis::{APIS, Api};

/// A frame without its length: the header of a client that does not say who it is, and a body.
fn frame(api: &Api, version: i16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api.layout.api_key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend((-1_i16).to_be_bytes());
    if api.layout.format(version).flexible {
        frame.push(0);
    }
    frame.extend(Sample::new(api, version, 1).bytes);
    frame
}

#[test]
fn the_fuzzers_corpus_has_a_request_of_each_api() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fuzz/corpus/kafka_request"
    );
    let is_written = std::env::var_os("MILLSTREAM_WRITE_CORPUS").is_some();
    for api in APIS {
        for version in [api.first, api.last] {
            let expected = frame(api, version);
            let path = Path::new(corpus).join(format!("{}-v{version}", api.layout.name));
            if is_written {
                fs::create_dir_all(corpus).unwrap();
                fs::write(&path, &expected).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap(), expected, "{}", path.display());
        }
    }
}
