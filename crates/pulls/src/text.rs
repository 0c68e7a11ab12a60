//! Texts from outside, within bounds.

use std::borrow::Cow;
use std::sync::Arc;

/// Returns as much of a text as fits in `bytes_max`, with U+FFFD for each NUL, which PostgreSQL does not take.
pub(crate) fn clip(text: &str, bytes_max: usize) -> Arc<str> {
    clipped(text, bytes_max).into()
}

/// As [`clip`]; returns `before` itself if it is the same text.
pub(crate) fn clip_again(before: &Arc<str>, text: &str, bytes_max: usize) -> Arc<str> {
    let text = clipped(text, bytes_max);
    if **before == *text { Arc::clone(before) } else { text.into() }
}

fn clipped(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.contains('\0') {
        let text = text.replace('\0', "\u{fffd}");
        return Cow::Owned(text[..text.floor_char_boundary(bytes_max)].to_owned());
    }
    Cow::Borrowed(&text[..text.floor_char_boundary(bytes_max)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_hold_no_nul() {
        for (text, bytes_max, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("aä", 2, "a"),
            ("a\0b", 9, "a\u{fffd}b"),
            ("a\0b", 2, "a"),
            ("", 0, ""),
        ] {
            assert_eq!(&*clip(text, bytes_max), expected, "{text:?} {bytes_max}");
        }
    }
}
