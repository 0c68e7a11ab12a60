//! Sizes as people write them.

const SIZE_UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Returns the bytes of `32MiB`, `1GB` or `1024`; `None` for anything else, an overflow included.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Some(count);
    }
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    count.checked_mul(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("32MiB", Some(33_554_432)),
            ("1 GB", Some(1_000_000_000)),
            ("1mb", None),
            ("x", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
    }
}
