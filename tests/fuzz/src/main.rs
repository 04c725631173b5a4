//! The fuzzer of the target that `MILLSTREAM_FUZZ_TARGET` names. Built without `--cfg fuzzing` it runs the
//! files that it is given through the target, one after the other.
#![cfg_attr(fuzzing, no_main)]

/// Names the target.
const TARGET: &str = "MILLSTREAM_FUZZ_TARGET";

fn chosen() -> anyhow::Result<&'static millstream_fuzz::Target> {
    let name = std::env::var(TARGET)?;
    millstream_fuzz::target(&name)
        .ok_or_else(|| anyhow::anyhow!("{TARGET} is {name}, which is no target"))
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(init: {
    chosen().expect("the environment names a target");
}, |input: &[u8]| {
    static CHOSEN: std::sync::LazyLock<fn(&[u8])> =
        std::sync::LazyLock::new(|| chosen().expect("it was there before").run);
    CHOSEN(input);
});

#[cfg(not(fuzzing))]
fn main() -> anyhow::Result<()> {
    let target = chosen()?;
    for path in std::env::args_os().skip(1) {
        (target.run)(&std::fs::read(path)?);
    }
    Ok(())
}
