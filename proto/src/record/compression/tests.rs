//! Round trips, foreign framings, bounds and refusals of every codec.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Compression, CompressionError};

fn compressed(codec: Compression, input: &[u8]) -> Bytes {
    let mut out = Vec::new();
    codec.compress(None, input, &mut out).unwrap();
    out.into()
}

fn compiled_in() -> impl Iterator<Item = Compression> {
    Compression::ALL
        .into_iter()
        .filter(|codec| codec.is_compiled_in())
}

/// Real-looking input larger than any codec's block.
fn text(bytes: usize) -> Vec<u8> {
    (0..)
        .flat_map(|row: u32| format!("{row},N{},EWR,IAH\n", row * 7).into_bytes())
        .take(bytes)
        .collect()
}

#[test]
fn every_codec_round_trips_beyond_its_block_size() {
    let input = text(300_000);
    for codec in compiled_in() {
        let out = compressed(codec, &input);
        assert!(
            codec == Compression::None || out.len() < input.len() / 2,
            "{codec}"
        );
        assert_eq!(
            codec.decompress(out, input.len()).unwrap(),
            input,
            "{codec}"
        );
    }
}

#[test]
fn output_beyond_the_limit_is_refused() {
    let input = text(100_000);
    for codec in compiled_in() {
        let refused = codec.decompress(compressed(codec, &input), input.len() - 1);
        let max = input.len() - 1;
        assert_eq!(
            refused,
            Err(CompressionError::OutputTooLarge { codec, max })
        );
    }
}

#[test]
fn codecs_that_are_compiled_out_say_so() {
    for codec in Compression::ALL
        .into_iter()
        .filter(|codec| !codec.is_compiled_in())
    {
        let refused = CompressionError::NotCompiledIn { codec };
        assert_eq!(
            codec.compress(None, b"x", &mut Vec::new()),
            Err(refused.clone())
        );
        assert_eq!(codec.decompress(Bytes::from_static(b"x"), 10), Err(refused));
    }
    assert_eq!(
        CompressionError::NotCompiledIn {
            codec: Compression::Lz4
        }
        .to_string(),
        "compression lz4 is not compiled in"
    );
}

#[test]
fn unknown_levels_are_refused() {
    for (codec, level) in [
        (Compression::None, 0),
        (Compression::Gzip, 10),
        (Compression::Gzip, -1),
        (Compression::Snappy, 1),
        (Compression::Lz4, 1),
        (Compression::Zstd, 23),
    ] {
        if codec.is_compiled_in() {
            let refused = codec.compress(Some(level), b"x", &mut Vec::new());
            assert_eq!(
                refused,
                Err(CompressionError::Level {
                    codec,
                    found: level
                })
            );
        }
    }
}

#[cfg(feature = "snappy")]
#[test]
fn snappy_is_written_as_snappy_java_does_and_read_raw_or_joined_too() {
    let input = text(70_000);
    let framed = compressed(Compression::Snappy, &input);
    assert_eq!(framed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let first_block = u32::from_be_bytes(*framed[16..].first_chunk().unwrap()) as usize;
    let decoded = snap::raw::Decoder::new()
        .decompress_vec(&framed[20..20 + first_block])
        .unwrap();
    assert_eq!(decoded, input[..32 * 1024]);

    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(
        Compression::Snappy.decompress(raw.into(), 70_000).unwrap(),
        input
    );

    let joined = Bytes::from([framed.clone(), framed].concat());
    assert_eq!(
        Compression::Snappy.decompress(joined, 140_000).unwrap(),
        input.repeat(2)
    );
}

#[cfg(feature = "snappy")]
#[test]
fn snappy_block_that_claims_gigabytes_allocates_nothing() {
    // A raw block of six bytes whose length field says 4 GiB - 1.
    let claim = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
    assert_eq!(
        Compression::Snappy.decompress(claim, 1 << 20),
        Err(CompressionError::OutputTooLarge {
            codec: Compression::Snappy,
            max: 1 << 20
        })
    );
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_members_read_as_one() {
    let joined = [
        compressed(Compression::Gzip, b"one "),
        compressed(Compression::Gzip, b"two"),
    ];
    let joined = Bytes::from(joined.concat());
    assert_eq!(
        Compression::Gzip.decompress(joined, 100).unwrap(),
        "one two"
    );
}

#[cfg(feature = "lz4")]
#[test]
fn lz4_frames_have_the_descriptor_that_kafka_writes() {
    // Magic; version 1, independent blocks, no checksums; 64 KiB blocks; xxHash byte of the two.
    let frame = compressed(Compression::Lz4, b"some records");
    assert_eq!(frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
}

#[test]
fn truncated_input_is_corrupt_not_shorter() {
    let input = text(100_000);
    for codec in compiled_in().filter(|codec| *codec != Compression::None) {
        let out = compressed(codec, &input);
        for length in [out.len() / 2, out.len() - 5, 17] {
            let cut = codec.decompress(out.slice(..length), input.len());
            // A framing may end between two of its blocks; what came before is then right.
            if let Ok(read) = cut {
                assert!(
                    read.len() < input.len() && input.starts_with(&read),
                    "{codec} {length}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn decoders_never_panic_on_arbitrary_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        for codec in compiled_in() {
            let _ = codec.decompress(Bytes::copy_from_slice(&bytes), 1 << 16);
        }
    }

    #[test]
    fn decoders_never_panic_on_mutated_output(
        input in proptest::collection::vec(0u8..4, 1..5_000),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        for codec in compiled_in() {
            let mut out = compressed(codec, &input).to_vec();
            let position = at.index(out.len());
            out[position] ^= flip;
            if let Ok(read) = codec.decompress(out.into(), 1 << 16) {
                prop_assert!(read.len() <= 1 << 16);
            }
        }
    }

    #[test]
    fn every_codec_round_trips(input in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        for codec in compiled_in() {
            let out = codec.decompress(compressed(codec, &input), input.len()).unwrap();
            prop_assert_eq!(&out, &input);
        }
    }
}
