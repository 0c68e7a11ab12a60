//! The samples of a series that are still being appended: compressed, in byte steps, in a chain of small pieces.
//!
//! Each sample is a control byte and what it announces:
//!
//! - `00rrrrrr`: the `r + 1` next samples have the same value and the same distance in time as the one before;
//! - `01vvvvvv`: the same distance in time;
//! - `10vvvvvv`: the change of the distance follows as a varint;
//!
//! and of the value, `v` = 0: the same; 1..=36: the bytes that differ (XOR with the value before, without leading
//! and trailing zero bytes) follow; 37: the difference of whole numbers follows as a varint.
//! Bytes and not bits, because appending is what has to be fast here, and repetitions cost next to nothing.
//! This encoding is never on disk.

use crate::varint;

/// The newest time of a series without samples. A sample at this time is kept beside the chain.
pub(crate) const MIN_TIME: i64 = i64::MIN;

const RUN_MAX: u8 = 0x3f;
const SAME_DISTANCE: u8 = 0x40;
const OTHER_DISTANCE: u8 = 0x80;
const VALUE_MASK: u8 = 0x3f;
const WHOLE_DIFFERENCE: u8 = 37;
/// For each number of differing bytes, the code before the one without trailing zero bytes.
const CODE_BEFORE: [u8; 8] = [0, 8, 15, 21, 26, 30, 33, 35];

const NONE: u32 = u32::MAX;
const PAGE_BYTES: usize = 1 << 20;
/// Pieces are addressed in units of this many bytes.
const UNIT_BYTES: usize = 8;
/// Bytes of a piece that point to the next one.
const LINK_BYTES: usize = 4;

/// The length of the `n`th piece of a chain, link included: small series stay small, long ones need few links.
const fn piece_bytes(n: u8) -> usize {
    match n {
        0 | 1 => 32,
        2 | 3 => 64,
        4 | 5 => 128,
        // The last one whose length fits a byte and is whole units.
        _ => 248,
    }
}

/// The end of a chain, from which appending goes on. 40 bytes, one for every known series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenChunk {
    /// The newest time of the series, also of generations before; [`MIN_TIME`] when there was none.
    pub(crate) newest: i64,
    value: u64,
    distance: i64,
    first: u32,
    tail: u32,
    /// The number of samples in the chain.
    pub(crate) count: u32,
    tail_used: u8,
    pieces: u8,
    run: bool,
    /// Whether the journal of this generation says which labels the series has.
    pub(crate) journaled: bool,
}

impl OpenChunk {
    /// Returns an empty chain of a series whose newest sample is elsewhere.
    pub(crate) const fn new(newest: i64) -> Self {
        Self {
            newest,
            value: 0,
            distance: 0,
            first: NONE,
            tail: NONE,
            count: 0,
            tail_used: 0,
            pieces: 0,
            run: false,
            journaled: false,
        }
    }

    /// Returns the bits of the newest value in the chain.
    pub(crate) const fn value_bits(&self) -> u64 {
        self.value
    }
}

/// The memory of all chains of a generation.
#[derive(Debug, Default)]
pub(crate) struct ChunkArena {
    pages: Vec<Box<[u8]>>,
    page_used: usize,
}

impl ChunkArena {
    /// Returns the memory that is in use, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let full = self.pages.len().saturating_sub(1) * PAGE_BYTES;
        (full + self.page_used) as u64
    }

    /// Appends a sample later than all in the chain.
    pub(crate) fn append(&mut self, chunk: &mut OpenChunk, time: i64, bits: u64) {
        let mut encoded = Encoded::default();
        let distance = time.wrapping_sub(if chunk.count == 0 { 0 } else { chunk.newest });
        if chunk.count == 0 {
            encoded.push(OTHER_DISTANCE);
            encoded.push_varint(varint::zigzag(distance));
            encoded.push_value(0, bits);
        } else {
            let change = distance.wrapping_sub(chunk.distance);
            if change == 0 && bits == chunk.value {
                self.repeat(chunk);
                chunk.newest = time;
                chunk.count += 1;
                return;
            }
            encoded.push(if change == 0 { SAME_DISTANCE } else { OTHER_DISTANCE });
            if change != 0 {
                encoded.push_varint(varint::zigzag(change));
            }
            encoded.push_value(chunk.value, bits);
        }
        // The distance from the epoch says nothing about the distance to the next sample.
        chunk.distance = if chunk.count == 0 { 0 } else { distance };
        chunk.newest = time;
        chunk.value = bits;
        chunk.count += 1;
        chunk.run = false;
        self.write(chunk, &encoded.bytes[..encoded.len]);
    }

    fn repeat(&mut self, chunk: &mut OpenChunk) {
        if chunk.run
            && let Some(last) = self.piece_mut(chunk.tail, chunk.tail_used as usize)
            && let Some(control) = last.last_mut()
            && *control < RUN_MAX
        {
            *control += 1;
            return;
        }
        self.write(chunk, &[0]);
        chunk.run = true;
    }

    fn write(&mut self, chunk: &mut OpenChunk, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = match chunk.pieces {
                0 => 0,
                pieces => piece_bytes(pieces - 1) - chunk.tail_used as usize,
            };
            if room == 0 {
                self.extend(chunk);
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let start = chunk.tail_used as usize;
            let end = start + now.len();
            if let Some(piece) = self.piece_mut(chunk.tail, end) {
                piece[start..].copy_from_slice(now);
            }
            chunk.tail_used = end as u8;
            bytes = later;
        }
    }

    /// Links a new piece to the end of a chain.
    fn extend(&mut self, chunk: &mut OpenChunk) {
        let unit = self.allocate(piece_bytes(chunk.pieces));
        if chunk.pieces == 0 {
            chunk.first = unit;
        } else if let Some(link) = self.piece_mut(chunk.tail, LINK_BYTES) {
            link.copy_from_slice(&unit.to_le_bytes());
        }
        chunk.tail = unit;
        chunk.tail_used = LINK_BYTES as u8;
        chunk.pieces = chunk.pieces.saturating_add(1);
    }

    fn allocate(&mut self, bytes: usize) -> u32 {
        if self.pages.is_empty() || self.page_used + bytes > PAGE_BYTES {
            self.pages.push(vec![0; PAGE_BYTES].into_boxed_slice());
            self.page_used = 0;
        }
        let offset = (self.pages.len() - 1) * PAGE_BYTES + self.page_used;
        self.page_used += bytes;
        u32::try_from(offset / UNIT_BYTES).expect("the memory of the head is bounded")
    }

    fn piece_mut(&mut self, unit: u32, bytes: usize) -> Option<&mut [u8]> {
        let offset = unit as usize * UNIT_BYTES;
        let start = offset % PAGE_BYTES;
        self.pages.get_mut(offset / PAGE_BYTES)?.get_mut(start..start + bytes)
    }

    fn piece(&self, unit: u32, bytes: usize) -> &[u8] {
        let offset = unit as usize * UNIT_BYTES;
        let start = offset % PAGE_BYTES;
        &self.pages[offset / PAGE_BYTES][start..start + bytes]
    }

    /// Appends the encoded samples of a chain to `bytes`.
    pub(crate) fn copy(&self, chunk: &OpenChunk, bytes: &mut Vec<u8>) {
        let mut unit = chunk.first;
        let mut n = 0_u8;
        while unit != NONE {
            let last = unit == chunk.tail;
            let used = if last { chunk.tail_used as usize } else { piece_bytes(n) };
            let piece = self.piece(unit, used);
            let (link, content) = piece.split_at(LINK_BYTES);
            bytes.extend_from_slice(content);
            if last {
                return;
            }
            unit = u32::from_le_bytes(link.try_into().unwrap_or([0xff; LINK_BYTES]));
            n = n.saturating_add(1);
        }
    }

    /// Returns the time of the first sample of a chain.
    pub(crate) fn first_time(&self, chunk: &OpenChunk) -> Option<i64> {
        if chunk.first == NONE {
            return None;
        }
        let used = if chunk.pieces == 1 { chunk.tail_used as usize } else { piece_bytes(0) };
        let mut rest = self.piece(chunk.first, used).get(LINK_BYTES + 1..)?;
        varint::take_i64(&mut rest)
    }
}

/// One encoded sample.
#[derive(Default)]
struct Encoded {
    bytes: [u8; 24],
    len: usize,
}

impl Encoded {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn push_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    fn push_value(&mut self, before: u64, bits: u64) {
        let differing = before ^ bits;
        if differing == 0 {
            return;
        }
        let trailing = differing.trailing_zeros() / 8;
        let length = 8 - differing.leading_zeros() / 8 - trailing;
        if let Some(difference) = whole_difference(before, bits) {
            let difference = varint::zigzag(difference);
            if difference >> (7 * length) == 0 {
                self.bytes[0] |= WHOLE_DIFFERENCE;
                return self.push_varint(difference);
            }
        }
        self.bytes[0] |= CODE_BEFORE[length as usize - 1] + trailing as u8 + 1;
        let content = (differing >> (8 * trailing)).to_le_bytes();
        let length = length as usize;
        self.bytes[self.len..self.len + length].copy_from_slice(&content[..length]);
        self.len += length;
    }
}

/// Returns the difference of two values when both are whole numbers that `f64` holds exactly.
fn whole_difference(before: u64, bits: u64) -> Option<i64> {
    let before = whole(before)?;
    Some(whole(bits)? - before)
}

fn whole(bits: u64) -> Option<i64> {
    const EXACT_MAX: i64 = 1 << 53;
    let value = f64::from_bits(bits);
    let number = value as i64;
    // Negative zero, fractions, infinities and NaNs come out with other bits.
    ((number as f64).to_bits() == bits && (-EXACT_MAX..=EXACT_MAX).contains(&number))
        .then_some(number)
}

/// Reads the samples of a chain that [`ChunkArena::copy`] has copied.
#[derive(Clone, Debug)]
pub(crate) struct OpenChunkReader<'a> {
    rest: &'a [u8],
    time: i64,
    distance: i64,
    value: u64,
    repeat: u8,
    first: bool,
}

impl<'a> OpenChunkReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, time: 0, distance: 0, value: 0, repeat: 0, first: true }
    }

    fn read_value(&mut self, code: u8) -> Option<()> {
        if code == 0 {
            return Some(());
        }
        if code == WHOLE_DIFFERENCE {
            let difference = varint::take_i64(&mut self.rest)?;
            let before = f64::from_bits(self.value) as i64;
            self.value = (before.checked_add(difference)? as f64).to_bits();
            return Some(());
        }
        let length = CODE_BEFORE.iter().rposition(|before| *before < code)? + 1;
        let trailing = code - CODE_BEFORE[length - 1] - 1;
        let (content, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(content);
        self.value ^= u64::from_le_bytes(bytes) << (8 * u32::from(trailing));
        Some(())
    }

    fn step(&mut self) -> Option<()> {
        if self.repeat > 0 {
            self.repeat -= 1;
            self.time = self.time.wrapping_add(self.distance);
            return Some(());
        }
        let (control, rest) = self.rest.split_first()?;
        self.rest = rest;
        if *control <= RUN_MAX {
            self.repeat = *control;
        } else {
            if control & OTHER_DISTANCE != 0 {
                let change = varint::take_i64(&mut self.rest)?;
                self.distance = self.distance.wrapping_add(change);
            }
            self.read_value(control & VALUE_MASK)?;
        }
        self.time = self.time.wrapping_add(self.distance);
        if self.first {
            self.first = false;
            self.distance = 0;
        }
        Some(())
    }
}

impl Iterator for OpenChunkReader<'_> {
    /// Time and bits of the value.
    type Item = (i64, u64);

    fn next(&mut self) -> Option<(i64, u64)> {
        self.step().map(|()| (self.time, self.value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Appends the samples to one chain, with another one growing beside it, and returns what is read back and the
    /// number of bytes it took.
    fn check(samples: &[(i64, u64)]) -> usize {
        let mut arena = ChunkArena::default();
        let (mut chunk, mut other) = (OpenChunk::new(MIN_TIME), OpenChunk::new(MIN_TIME));
        for (index, (time, bits)) in samples.iter().enumerate() {
            arena.append(&mut chunk, *time, *bits);
            arena.append(&mut other, index as i64, !*bits);
        }
        let mut bytes = Vec::new();
        arena.copy(&chunk, &mut bytes);
        assert_eq!(OpenChunkReader::new(&bytes).collect::<Vec<_>>(), samples);
        assert_eq!(arena.first_time(&chunk), samples.first().map(|(time, _)| *time));
        assert_eq!(chunk.count as usize, samples.len());
        bytes.len()
    }

    #[test]
    fn a_constant_costs_a_byte_in_sixty_four_samples() {
        let constant: Vec<_> = (0..481).map(|n| (n * 15_000, 1.5_f64.to_bits())).collect();
        assert!(check(&constant) < 20, "{} bytes", check(&constant));
    }

    #[test]
    fn a_counter_costs_two_bytes_a_sample() {
        let counter: Vec<_> = (0..480).map(|n| (n * 15_000, (n as f64 * 7.0).to_bits())).collect();
        assert!(check(&counter) < 1_000, "{} bytes", check(&counter));
    }

    #[test]
    fn every_kind_of_bits_survives() {
        let bits = [
            0.0_f64.to_bits(),
            (-0.0_f64).to_bits(),
            model::STALE_NAN_BITS,
            f64::NAN.to_bits(),
            u64::MAX,
            f64::INFINITY.to_bits(),
            9_007_199_254_740_993.0_f64.to_bits(),
            (-9_007_199_254_740_992.0_f64).to_bits(),
            1,
            f64::MAX.to_bits(),
        ];
        let mut samples = Vec::new();
        for (outer, before) in bits.iter().enumerate() {
            for (inner, after) in bits.iter().enumerate() {
                let time = (outer * 1_000 + inner * 20) as i64;
                samples.extend([(time, *before), (time + 7, *after)]);
            }
        }
        samples.dedup_by_key(|(time, _)| *time);
        check(&samples);
    }

    #[test]
    fn the_whole_range_of_time_survives() {
        check(&[(i64::MIN + 1, 1), (-5, 2), (0, 3), (i64::MAX - 1, 4), (i64::MAX, 4)]);
    }

    proptest! {
        #[test]
        fn samples_round_trip(
            times in proptest::collection::btree_set(prop_oneof![any::<i64>(), 0..50_i64], 1..400),
            values in proptest::collection::vec(
                prop_oneof![any::<u64>(), (0..4_u32).prop_map(|n| f64::from(n).to_bits())], 400
            ),
        ) {
            let samples: Vec<_> = times.into_iter().zip(values).collect();
            check(&samples);
        }
    }
}
