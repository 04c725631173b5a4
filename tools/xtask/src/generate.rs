//! `cargo xtask generate`: gRPC code from `proto/api`, checked in so that users need no compiler.
//!
//! protox parses the files (no protoc), tonic-prost-build writes the Rust. `--check` compares
//! instead of writing.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::compat;

const OUT_DIR: &str = "proto/src/grpc/generated";
const DESCRIPTOR: &str = "proto/src/grpc/generated/descriptor.bin";

/// Generates into the tree at `root`, or with `check` fails when the tree differs. Refuses an API that
/// breaks what was frozen; with `freeze`, what is new is frozen, too.
pub(crate) fn run(root: &Path, check: bool, freeze: bool) -> Result<()> {
    let scratch = root.join("target/xtask-generate");
    fs::create_dir_all(&scratch)?;
    let api = root.join("proto/api");
    let mut files: Vec<_> = fs::read_dir(api.join("millstream/v1"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, [&api]).context("cannot parse the .proto files")?;
    compat::check(root, &descriptors, freeze)?;
    fs::write(
        scratch.join("descriptor.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .out_dir(&scratch)
        .compile_fds(descriptors)
        .context("cannot generate Rust from the .proto files")?;
    let generated = [
        (
            "millstream.v1.rs",
            root.join(OUT_DIR).join("millstream.v1.rs"),
        ),
        ("descriptor.bin", root.join(DESCRIPTOR)),
    ];
    for (name, target) in generated {
        let fresh = fs::read(scratch.join(name))?;
        if check {
            let current = fs::read(&target).unwrap_or_default();
            if current != fresh {
                bail!("{} is stale: run `cargo xtask generate`", target.display());
            }
        } else {
            fs::create_dir_all(root.join(OUT_DIR))?;
            fs::write(&target, fresh)?;
        }
    }
    Ok(())
}
