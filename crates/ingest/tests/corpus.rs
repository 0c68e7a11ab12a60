//! The committed inputs of the fuzz targets, each decoded once: those named `valid…` are taken, the others refused.

use std::path::Path;

use ingest::{
    Compression, Entry, ExpositionFormat, LabelArena, OtlpFormat, decode_otlp,
    decode_remote_write_v1, decode_remote_write_v2, decompress, parse_exposition,
};
use model::WriteBatch;
use platform::{Fs as _, SystemFs};

/// More than any sound input here needs, less than the bombs would take.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 16;

/// Decodes every file of a corpus folder, and expects at least one of either kind.
#[track_caller]
fn check(target: &str, accepts: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let disk = SystemFs::new();
    let entries = disk.list(&folder).expect("the corpus is committed");
    let (mut taken, mut refused) = (0, 0);
    for entry in entries {
        let body = disk.read(&folder.join(&entry.name), 1 << 20).expect("a small file");
        let expected = entry.name.starts_with("valid");
        assert_eq!(accepts(&body), expected, "{target}/{}", entry.name);
        if expected { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 0 && refused > 0, "{target}: {taken} taken, {refused} refused");
}

/// Looks at everything in a batch; series may be invalid one by one.
fn read(batch: &WriteBatch<'_>) {
    for series in batch.series() {
        assert!(!series.samples.is_empty());
        drop(series.key.decode());
    }
}

#[test]
fn remote_write() {
    check("remote_write_v1", |body| {
        let mut arena = LabelArena::new();
        decode_remote_write_v1(body, &mut arena).map(|request| read(&request.batch)).is_ok()
    });
    check("remote_write_v2", |body| {
        let mut arena = LabelArena::new();
        decode_remote_write_v2(body, &mut arena).map(|request| read(&request.batch)).is_ok()
    });
}

#[test]
fn otlp() {
    for (target, format) in
        [("otlp_protobuf", OtlpFormat::Protobuf), ("otlp_json", OtlpFormat::Json)]
    {
        check(target, |body| {
            decode_otlp(format, body).map(|metrics| read(&metrics.batch())).is_ok()
        });
    }
}

#[test]
fn expositions() {
    for (target, format) in [
        ("exposition_prometheus", ExpositionFormat::Prometheus),
        ("exposition_openmetrics", ExpositionFormat::OpenMetrics),
    ] {
        check(target, |body| {
            let text = std::str::from_utf8(body).expect("the corpus is text");
            parse_exposition(text, format).all(|entry| {
                if let Ok(Entry::Sample(sample)) = &entry {
                    drop(sample.series.labels());
                }
                entry.is_ok()
            })
        });
    }
}

#[test]
fn compressed_bodies() {
    for (target, compression) in [
        ("decompress_snappy", Compression::Snappy),
        ("decompress_gzip", Compression::Gzip),
        ("decompress_zstd", Compression::Zstd),
    ] {
        check(target, |body| decompress(compression, body, DECOMPRESSED_BYTES_MAX).is_ok());
    }
}
