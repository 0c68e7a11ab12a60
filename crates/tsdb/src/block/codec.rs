//! Columns of times and of values as bytes. Every bit pattern of a value is kept.

use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec};

use crate::varint;

/// All values have the same bits, which follow.
const VALUES_CONSTANT: u8 = 0;
/// One control byte per value and what it announces.
const VALUES_SHORT: u8 = 1;
/// Whole numbers, as `pco` packs 64-bit integers.
const VALUES_WHOLE: u8 = 2;
/// As `pco` packs floats.
const VALUES_FLOAT: u8 = 3;
/// Eight bytes per value, little-endian.
const VALUES_RAW: u8 = 4;

/// The first time and the distance between all of them.
const TIMES_REGULAR: u8 = 0;
/// Changes of the distance as varints.
const TIMES_SHORT: u8 = 1;
/// As `pco` packs 64-bit integers.
const TIMES_PACKED: u8 = 2;

/// Below this many numbers the head of a `pco` chunk costs more than it saves.
const PACKED_MIN: usize = 48;
/// Whole numbers up to this magnitude are exact as floats.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// The control byte of a difference of whole numbers.
const CONTROL_WHOLE: u8 = 0xf0;
const LEVEL: usize = 8;

type Decoded = Result<(), &'static str>;

/// Appends the encoding of `values`, at least one.
pub(super) fn encode_values(values: &[f64], bytes: &mut Vec<u8>) {
    let Some(first) = values.first().map(|value| value.to_bits()) else { return };
    if values.iter().all(|value| value.to_bits() == first) {
        bytes.push(VALUES_CONSTANT);
        bytes.extend_from_slice(&first.to_le_bytes());
        return;
    }
    if values.len() < PACKED_MIN {
        bytes.push(VALUES_SHORT);
        encode_short(values, bytes);
        return;
    }
    let start = bytes.len();
    let whole: Option<Vec<i64>> = values.iter().map(|value| whole(*value)).collect();
    let packed = match whole {
        Some(whole) => {
            bytes.push(VALUES_WHOLE);
            pack(&whole, &config(values.len()).with_mode_spec(ModeSpec::Classic), bytes)
        }
        None => {
            bytes.push(VALUES_FLOAT);
            pack(values, &config(values.len()), bytes)
        }
    };
    // What would not come back bit for bit is kept as it is.
    let mut decoded = Vec::with_capacity(values.len());
    let is_kept = packed
        && bytes.get(start..).is_some_and(|encoded| {
            encoded.len() < values.len() * 8
                && decode_values(encoded, values.len(), &mut decoded).is_ok()
        })
        && decoded.iter().zip(values).all(|(left, right)| left.to_bits() == right.to_bits());
    if !is_kept {
        bytes.truncate(start);
        bytes.push(VALUES_RAW);
        bytes.extend(values.iter().flat_map(|value| value.to_bits().to_le_bytes()));
    }
}

/// Appends `count` values to `values`.
pub(super) fn decode_values(bytes: &[u8], count: usize, values: &mut Vec<f64>) -> Decoded {
    let (kind, rest) = bytes.split_first().ok_or("no values")?;
    match *kind {
        VALUES_CONSTANT => {
            let bits = rest.try_into().map_err(|_| "constant of a wrong length")?;
            values.resize(values.len() + count, f64::from_bits(u64::from_le_bytes(bits)));
            Ok(())
        }
        VALUES_SHORT => decode_short(rest, count, values),
        VALUES_WHOLE => {
            let mut whole = Vec::<i64>::new();
            unpack(rest, count, &mut whole)?;
            values.extend(whole.into_iter().map(|number| number as f64));
            Ok(())
        }
        VALUES_FLOAT => unpack(rest, count, values),
        VALUES_RAW if rest.len() == count * 8 => {
            let (words, _) = rest.as_chunks::<8>();
            values.extend(words.iter().map(|word| f64::from_bits(u64::from_le_bytes(*word))));
            Ok(())
        }
        VALUES_RAW => Err("raw values of a wrong length"),
        _ => Err("unknown encoding of values"),
    }
}

/// Appends the encoding of ascending `times`, at least one.
pub(super) fn encode_times(times: &[i64], bytes: &mut Vec<u8>) {
    let [first, rest @ ..] = times else { return };
    let step = rest.first().map_or(0, |second| second.wrapping_sub(*first));
    if times.windows(2).all(|pair| matches!(pair, [a, b] if b.wrapping_sub(*a) == step)) {
        bytes.push(TIMES_REGULAR);
        varint::push_i64(bytes, *first);
        varint::push_i64(bytes, step);
        return;
    }
    let start = bytes.len();
    if times.len() >= PACKED_MIN {
        bytes.push(TIMES_PACKED);
        if pack(times, &config(times.len()), bytes) {
            return;
        }
        bytes.truncate(start);
    }
    bytes.push(TIMES_SHORT);
    let (mut last, mut distance) = (0_i64, 0_i64);
    for time in times {
        let next = time.wrapping_sub(last);
        varint::push_i64(bytes, next.wrapping_sub(distance));
        (last, distance) = (*time, next);
    }
}

/// Appends `count` times to `times`.
pub(super) fn decode_times(bytes: &[u8], count: usize, times: &mut Vec<i64>) -> Decoded {
    let (kind, mut rest) = bytes.split_first().ok_or("no times")?;
    let start = times.len();
    match *kind {
        TIMES_REGULAR => {
            let first = varint::take_i64(&mut rest).ok_or("first time is cut off")?;
            let step = varint::take_i64(&mut rest).ok_or("step is cut off")?;
            let mut time = first;
            for _ in 0..count {
                times.push(time);
                time = time.wrapping_add(step);
            }
        }
        TIMES_SHORT => {
            let (mut last, mut distance) = (0_i64, 0_i64);
            for _ in 0..count {
                let change = varint::take_i64(&mut rest).ok_or("times are cut off")?;
                distance = distance.wrapping_add(change);
                last = last.wrapping_add(distance);
                times.push(last);
            }
        }
        TIMES_PACKED => {
            unpack(rest, count, times)?;
            rest = &[];
        }
        _ => return Err("unknown encoding of times"),
    }
    let decoded = times.get(start..).unwrap_or_default();
    if !rest.is_empty() {
        return Err("bytes after the times");
    }
    if decoded.windows(2).any(|pair| matches!(pair, [a, b] if a >= b)) {
        return Err("times do not ascend");
    }
    Ok(())
}

fn whole(value: f64) -> Option<i64> {
    if value.abs() > WHOLE_MAX || value.is_nan() {
        return None;
    }
    let number = value as i64;
    ((number as f64).to_bits() == value.to_bits()).then_some(number)
}

/// The distance to the number before suits counters, gauges and times alike; trying others doubles the time.
fn config(count: usize) -> ChunkConfig {
    ChunkConfig::default()
        .with_delta_spec(DeltaSpec::TryConsecutive(1))
        .with_compression_level(LEVEL)
        .with_paging_spec(PagingSpec::Exact(vec![count]))
}

/// Returns whether the numbers could be packed; `bytes` may hold a part of them otherwise.
fn pack<T: pco::data_types::Number>(
    numbers: &[T],
    config: &ChunkConfig,
    bytes: &mut Vec<u8>,
) -> bool {
    let mut try_pack = || -> pco::errors::PcoResult<()> {
        let file = FileCompressor::default();
        file.write_header(&mut *bytes)?;
        let mut chunk = file.chunk_compressor(numbers, config)?;
        chunk.write_meta(&mut *bytes)?;
        chunk.write_page(0, &mut *bytes)?;
        Ok(())
    };
    try_pack().is_ok()
}

fn unpack<T: pco::data_types::Number + Default>(
    bytes: &[u8],
    count: usize,
    numbers: &mut Vec<T>,
) -> Decoded {
    let start = numbers.len();
    numbers.resize(start + count, T::default());
    let target = numbers.get_mut(start..).unwrap_or_default();
    let mut try_unpack = || -> pco::errors::PcoResult<bool> {
        let (file, rest) = FileDecompressor::new(bytes)?;
        let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest)?;
        let mut page = chunk.page_decompressor(rest, count)?;
        let progress = page.read(target)?;
        Ok(progress.n_processed == count && page.into_src().is_empty())
    };
    match try_unpack() {
        Ok(true) => Ok(()),
        Ok(false) => Err("packed numbers of a wrong length"),
        Err(_) => Err("packed numbers cannot be unpacked"),
    }
}

fn encode_short(values: &[f64], bytes: &mut Vec<u8>) {
    let mut last = 0_u64;
    for value in values {
        let bits = value.to_bits();
        let changed = bits ^ last;
        if changed == 0 {
            bytes.push(0);
            continue;
        }
        let leading = (changed.leading_zeros() / 8) as u8;
        let trailing = (changed.trailing_zeros() / 8) as u8;
        let significant = 8 - leading - trailing;
        let difference = whole(*value).zip(whole(f64::from_bits(last))).map(|(new, old)| new - old);
        match difference {
            Some(difference) if varint_bytes(difference) < significant => {
                bytes.push(CONTROL_WHOLE);
                varint::push_i64(bytes, difference);
            }
            _ => {
                bytes.push(leading << 4 | significant);
                let moved = (changed >> (u32::from(trailing) * 8)).to_le_bytes();
                bytes.extend(moved.iter().take(usize::from(significant)));
            }
        }
        last = bits;
    }
}

fn decode_short(bytes: &[u8], count: usize, values: &mut Vec<f64>) -> Decoded {
    const CUT: &str = "values are cut off";
    let mut rest = bytes;
    let mut last = 0_u64;
    for _ in 0..count {
        let (control, tail) = rest.split_first().ok_or(CUT)?;
        rest = tail;
        if *control == CONTROL_WHOLE {
            let difference = varint::take_i64(&mut rest).ok_or(CUT)?;
            let old = whole(f64::from_bits(last)).ok_or("difference to a fraction")?;
            last = (old.wrapping_add(difference) as f64).to_bits();
        } else if *control != 0 {
            let (leading, significant) = (control >> 4, control & 0x0f);
            let trailing = 8_u8.checked_sub(leading + significant).ok_or("value too long")?;
            let (moved, tail) = rest.split_at_checked(usize::from(significant)).ok_or(CUT)?;
            rest = tail;
            let mut word = [0; 8];
            word.iter_mut().zip(moved).for_each(|(to, from)| *to = *from);
            let changed = u64::from_le_bytes(word).checked_shl(u32::from(trailing) * 8);
            last ^= changed.ok_or("value without bytes")?;
        }
        values.push(f64::from_bits(last));
    }
    if rest.is_empty() { Ok(()) } else { Err("bytes after the values") }
}

fn varint_bytes(number: i64) -> u8 {
    ((64 - varint::zigzag(number).leading_zeros()).max(1)).div_ceil(7) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_values(values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        encode_values(values, &mut bytes);
        let mut decoded = Vec::new();
        decode_values(&bytes, values.len(), &mut decoded).expect("own encoding");
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&decoded), bits(values));
        bytes.len()
    }

    fn check_times(times: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode_times(times, &mut bytes);
        let mut decoded = Vec::new();
        decode_times(&bytes, times.len(), &mut decoded).expect("own encoding");
        assert_eq!(decoded, times);
        bytes.len()
    }

    fn any_value() -> impl Strategy<Value = f64> {
        let special = [
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            -f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            model::stale_nan(),
            f64::from_bits(0xfff8_dead_beef_0001),
            WHOLE_MAX,
            -WHOLE_MAX,
            WHOLE_MAX + 2.0,
        ];
        prop_oneof![
            4 => any::<u64>().prop_map(f64::from_bits),
            4 => (-1000..1000_i32).prop_map(f64::from),
            2 => (-1000..1000_i32).prop_map(|n| f64::from(n) / 10.0),
            1 => proptest::sample::select(special.to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn values_round_trip(values in proptest::collection::vec(any_value(), 1..300)) {
            check_values(&values);
        }

        #[test]
        fn whole_values_round_trip(
            values in proptest::collection::vec(-(1_i64 << 53)..(1 << 53), 1..300),
        ) {
            check_values(&values.iter().map(|number| *number as f64).collect::<Vec<_>>());
        }

        #[test]
        fn times_round_trip(times in proptest::collection::btree_set(any::<i64>(), 1..200)) {
            check_times(&times.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(
            kind in 0..6_u8,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            count in 0..1000_usize,
        ) {
            bytes.insert(0, kind);
            let (mut values, mut times) = (Vec::new(), Vec::new());
            let decoded = decode_values(&bytes, count, &mut values);
            prop_assert!(decoded.is_err() || values.len() == count);
            let decoded = decode_times(&bytes, count, &mut times);
            prop_assert!(decoded.is_err() || times.len() == count);
        }

        #[test]
        fn damaged_encodings_do_no_harm(
            values in proptest::collection::vec(any_value(), 50..300),
            position in any::<proptest::sample::Index>(),
            mask in 1..=255_u8,
        ) {
            let mut bytes = Vec::new();
            encode_values(&values, &mut bytes);
            let position = position.index(bytes.len());
            bytes[position] ^= mask;
            let mut decoded = Vec::new();
            let result = decode_values(&bytes, values.len(), &mut decoded);
            prop_assert!(result.is_err() || decoded.len() == values.len());
        }
    }

    #[test]
    fn constant_and_regular_columns_take_a_few_bytes() {
        assert_eq!(check_values(&[f64::NAN; 5000]), 9);
        let times: Vec<i64> = (0..5000).map(|n| 1_700_000_000_000 + n * 15_000).collect();
        assert!(check_times(&times) <= 12);
        assert!(check_times(&[i64::MIN, i64::MAX]) <= 25);
    }
}
