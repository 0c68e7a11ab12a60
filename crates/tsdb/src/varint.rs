//! Numbers of variable length: LEB128, signed ones in zigzag order.

/// Appends a number in one to ten bytes.
pub(crate) fn push_u64(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a signed number in one to ten bytes; those near zero are short.
pub(crate) fn push_i64(bytes: &mut Vec<u8>, number: i64) {
    push_u64(bytes, zigzag(number));
}

/// Takes a number off the front; `None` when it is cut off or exceeds 64 bits.
pub(crate) fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(first & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes a number of 32 bits off the front.
pub(crate) fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take_u64(rest).and_then(|number| u32::try_from(number).ok())
}

/// Takes a signed number off the front.
pub(crate) fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    take_u64(rest).map(unzigzag)
}

pub(crate) const fn zigzag(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned()
}

pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_round_trip(number in any::<i64>(), small in -300..300_i64) {
            for number in [number, small, i64::MIN, i64::MAX] {
                let mut bytes = Vec::new();
                push_i64(&mut bytes, number);
                let mut rest = bytes.as_slice();
                prop_assert_eq!(take_i64(&mut rest), Some(number));
                prop_assert!(rest.is_empty());
                prop_assert_eq!(take_i64(&mut &bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        assert_eq!(take_u64(&mut [0xff; 10].as_slice()), None);
        assert_eq!(take_u32(&mut [0x80, 0x80, 0x80, 0x80, 0x10].as_slice()), None);
    }
}
