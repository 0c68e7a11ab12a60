//! Undoes the compression of request bodies without believing the sizes they claim.

use std::io::{self, Read};

/// The most that is reserved before a single byte was decompressed, for encodings that do not claim a size.
const INITIAL_BYTES_MAX: usize = 1 << 20;

/// The largest window of a Zstandard frame, as a power of two of bytes: the 8 MiB that HTTP allows (RFC 9659).
/// The decoder allocates it as soon as a frame claims it.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Identity,
    /// The block format of Snappy, without frames, as remote write uses it.
    Snappy,
    /// Gzip, several members allowed.
    Gzip,
    /// Zstandard, several frames allowed.
    Zstd,
}

impl Compression {
    /// Returns what a value of the header `Content-Encoding` means; `None` when we do not know it.
    #[must_use]
    pub fn from_content_encoding(value: &str) -> Option<Self> {
        let known = [
            ("", Self::Identity),
            ("identity", Self::Identity),
            ("snappy", Self::Snappy),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("zstd", Self::Zstd),
        ];
        let value = value.trim();
        known.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, known)| *known)
    }

    /// Returns the name of the encoding, as in HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The body would be larger than is allowed.
    #[error(
        "decompressed body has {claimed} bytes or more, the limit is {limit}; send less at once"
    )]
    TooLarge {
        /// The size that the body claims or, where it claims none, that was exceeded; in bytes.
        claimed: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body is not what its header says.
    #[error("body is not valid {}: {source}", .compression.as_str())]
    Damaged {
        /// What it should be.
        compression: Compression,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// Returns the decompressed `body`, of at most `bytes_max` bytes.
///
/// Allocates no more than `bytes_max`, and for Snappy nothing when the size that the body claims is larger.
///
/// # Errors
///
/// Too large, or damaged.
pub fn decompress(
    compression: Compression,
    body: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    match compression {
        Compression::Identity => {
            check_size(body.len() as u64, bytes_max)?;
            Ok(body.to_vec())
        }
        Compression::Snappy => decompress_snappy(body, bytes_max),
        Compression::Gzip => {
            read_limited(flate2::read::MultiGzDecoder::new(body), compression, bytes_max)
        }
        Compression::Zstd => {
            let damaged = |source| DecompressError::Damaged { compression, source };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
            read_limited(decoder, compression, bytes_max)
        }
    }
}

fn decompress_snappy(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let damaged = |error: snap::Error| DecompressError::Damaged {
        compression: Compression::Snappy,
        source: error.into(),
    };
    let claimed = snap::raw::decompress_len(body).map_err(damaged)?;
    check_size(claimed as u64, bytes_max)?;
    // Three bytes of Snappy make at most 64 bytes, so a small body that claims a large size lies.
    if claimed / 64 > body.len() {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} bytes cannot hold the {claimed} they claim", body.len()),
        );
        return Err(DecompressError::Damaged { compression: Compression::Snappy, source });
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(damaged)
}

fn check_size(claimed: u64, limit: usize) -> Result<(), DecompressError> {
    if claimed > limit as u64 {
        return Err(DecompressError::TooLarge { claimed, limit });
    }
    Ok(())
}

fn read_limited(
    reader: impl Read,
    compression: Compression,
    bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut decompressed = Vec::with_capacity(bytes_max.min(INITIAL_BYTES_MAX) / 16);
    // One byte more than allowed tells "exactly the limit" from "more".
    let limit = (bytes_max as u64).saturating_add(1);
    reader
        .take(limit)
        .read_to_end(&mut decompressed)
        .map_err(|source| DecompressError::Damaged { compression, source })?;
    check_size(decompressed.len() as u64, bytes_max)?;
    Ok(decompressed)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 4] =
        [Compression::Identity, Compression::Snappy, Compression::Gzip, Compression::Zstd];

    fn compress(compression: Compression, plain: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Identity => plain.to_vec(),
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(plain).expect("small"),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(plain).expect("memory");
                encoder.finish().expect("memory")
            }
            Compression::Zstd => zstd::stream::encode_all(plain, 1).expect("memory"),
        }
    }

    #[test]
    fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let plain = vec![7_u8; 10_000];
        for compression in ALL {
            let body = compress(compression, &plain);
            let whole = decompress(compression, &body, 10_000).expect("fits");
            assert_eq!(whole, plain, "{compression:?}");
            let error = decompress(compression, &body, 9_999).expect_err("one byte too large");
            assert!(
                matches!(error, DecompressError::TooLarge { claimed: 10_000, limit: 9_999 }),
                "{compression:?}: {error}"
            );
        }
    }

    #[test]
    fn a_snappy_bomb_is_refused_by_the_size_it_claims() {
        let bomb = compress(Compression::Snappy, &vec![0_u8; 50 << 20]);
        let error = decompress(Compression::Snappy, &bomb, 1 << 20).expect_err("a bomb");
        assert!(matches!(
            error,
            DecompressError::TooLarge { claimed: 52_428_800, limit: 1_048_576 }
        ));
    }

    #[test]
    fn a_tiny_snappy_body_that_claims_much_is_damaged() {
        // The length 2^30 - 1 as a varint, and nothing behind it.
        let body = [0xff, 0xff, 0xff, 0xff, 0x03];
        let error = decompress(Compression::Snappy, &body, 1 << 30).expect_err("a lie");
        assert!(matches!(error, DecompressError::Damaged { .. }), "{error}");
        // It is noticed before the memory is asked for.
        assert!(error.to_string().ends_with("5 bytes cannot hold the 1073741823 they claim"));
    }

    #[test]
    fn a_zstd_frame_has_a_limit_of_its_window() {
        // A frame of one empty block; its sixth byte is the window's power of two, less ten, times eight.
        let frame = |window_log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 1, 0, 0];
        let window = decompress(Compression::Zstd, &frame(23), 100).expect("8 MiB");
        assert!(window.is_empty());
        let error = decompress(Compression::Zstd, &frame(24), 100).expect_err("16 MiB");
        assert!(matches!(error, DecompressError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_truncated_body_is_damaged() {
        for compression in [Compression::Snappy, Compression::Gzip, Compression::Zstd] {
            let mut body = compress(compression, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
            body.truncate(body.len() - 3);
            let error = decompress(compression, &body, 1_000).expect_err("truncated");
            assert!(matches!(error, DecompressError::Damaged { .. }), "{compression:?}: {error}");
        }
    }

    #[test]
    fn names_of_encodings_are_known_in_any_case() {
        assert_eq!(Compression::from_content_encoding(" GZIP "), Some(Compression::Gzip));
        assert_eq!(Compression::from_content_encoding(""), Some(Compression::Identity));
        assert_eq!(Compression::from_content_encoding("br"), None);
        for compression in ALL {
            let again = Compression::from_content_encoding(compression.as_str());
            assert_eq!(again, Some(compression));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_exceed_the_limit(
            body in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            for compression in ALL {
                if let Ok(plain) = decompress(compression, &body, 300) {
                    prop_assert!(plain.len() <= 300);
                }
            }
        }

        #[test]
        fn what_was_compressed_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..2000)) {
            for compression in ALL {
                let body = compress(compression, &plain);
                prop_assert_eq!(&decompress(compression, &body, 2_000).expect("fits"), &plain);
            }
        }
    }
}
