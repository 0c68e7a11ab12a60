//! The series of one label pair.

use crate::varint;

/// Ascending numbers of series: their distances as varints. Most pairs of a large store have one series only.
#[derive(Debug, Default)]
pub(super) enum Postings {
    /// No series yet.
    #[default]
    None,
    /// One series.
    One(u32),
    /// Several.
    Many(Box<Many>),
}

#[derive(Debug)]
pub(super) struct Many {
    distances: Vec<u8>,
    last: u32,
    len: u32,
}

impl Postings {
    /// Appends a series with a higher number than all before.
    pub(super) fn push(&mut self, series: u32) {
        match self {
            Self::None => *self = Self::One(series),
            Self::One(first) => {
                let mut distances = Vec::with_capacity(8);
                varint::push_u64(&mut distances, u64::from(*first));
                varint::push_u64(&mut distances, u64::from(series - *first));
                *self = Self::Many(Box::new(Many { distances, last: series, len: 2 }));
            }
            Self::Many(many) => {
                varint::push_u64(&mut many.distances, u64::from(series - many.last));
                many.last = series;
                many.len += 1;
            }
        }
    }

    /// Returns the number of series.
    pub(super) fn len(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len,
        }
    }

    /// Iterates over the series, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let (one, mut rest) = match self {
            Self::None => (None, [].as_slice()),
            Self::One(series) => (Some(*series), [].as_slice()),
            Self::Many(many) => (None, many.distances.as_slice()),
        };
        let mut series = 0;
        one.into_iter().chain(std::iter::from_fn(move || {
            series += varint::take_u32(&mut rest)?;
            Some(series)
        }))
    }

    /// Returns the memory beside the value itself, in bytes.
    pub(super) fn heap_bytes(&self) -> u64 {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Many(many) => (size_of::<Many>() + many.distances.capacity()) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_back_ascending() {
        for count in [0, 1, 2, 3, 500_u32] {
            let mut postings = Postings::default();
            let series: Vec<u32> = (0..count).map(|n| n * n * 7).collect();
            series.iter().for_each(|series| postings.push(*series));
            assert_eq!(postings.iter().collect::<Vec<_>>(), series);
            assert_eq!(postings.len(), count);
        }
    }
}
