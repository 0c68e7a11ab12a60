// Included by the table and by the build script that makes it, so that both hash alike.

/// Returns where a name is among `slots` slots. It looks at the length and four bytes.
#[inline]
fn slot(name: &str, multiplier: u32, slots: usize) -> usize {
    let bytes = name.as_bytes();
    let byte = |index: usize| u32::from(bytes.get(index).copied().unwrap_or_default());
    let length = bytes.len();
    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits of the length suffice")]
    let mixed = (length as u32) << 24
        ^ byte(0) << 16
        ^ byte(length * 3 / 4) << 12
        ^ byte(length / 2) << 8
        ^ byte(length.wrapping_sub(1));
    // The highest bits, for all bytes have a part in them.
    let hash = (mixed.wrapping_mul(multiplier) >> 16) as usize;
    (hash * slots) >> 16
}
