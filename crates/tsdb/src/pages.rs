//! Memory that grows by pages: what is in it never moves, and growing never copies it.

/// Bytes of a page of a [`ByteArena`]; also the longest record of one.
const PAGE_BYTES: usize = 1 << 20;
/// Most pages of a [`ByteArena`]: its addresses are 32 bits.
const PAGES_MAX: usize = 1 << 12;
/// Pages that are kept free for what was decided on but not written yet.
const PAGES_SPARE: usize = 1 << 8;

/// A vector in pages.
#[derive(Clone, Debug)]
pub(crate) struct Paged<T> {
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Paged<T> {
    const PAGE_ITEMS: usize = 1 << 12;

    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.len.is_multiple_of(Self::PAGE_ITEMS) {
            self.pages.push(Vec::with_capacity(Self::PAGE_ITEMS));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(item);
            self.len += 1;
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pages.get(index / Self::PAGE_ITEMS)?.get(index % Self::PAGE_ITEMS)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        self.pages.get_mut(index / Self::PAGE_ITEMS)?.get_mut(index % Self::PAGE_ITEMS)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// Returns the memory that is held, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.pages.len() * Self::PAGE_ITEMS * size_of::<T>()) as u64
    }
}

/// Records of bytes, appended once, read by address.
///
/// A record is its length as a varint and its bytes, and lies within one page.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteArena {
    pages: Vec<Vec<u8>>,
}

impl ByteArena {
    /// The longest record, in bytes.
    pub(crate) const RECORD_BYTES_MAX: usize = PAGE_BYTES - 8;

    /// Returns whether the records of one batch still fit.
    pub(crate) fn has_room(&self) -> bool {
        self.pages.len() + PAGES_SPARE < PAGES_MAX
    }

    /// Appends a record and returns its address.
    ///
    /// # Panics
    ///
    /// When it is longer than [`Self::RECORD_BYTES_MAX`], or the arena is full despite [`Self::has_room`].
    pub(crate) fn push(&mut self, record: &[u8]) -> u32 {
        assert!(record.len() <= Self::RECORD_BYTES_MAX, "a record is longer than a page");
        let needed = record.len() + 8;
        if self.pages.last().is_none_or(|page| page.len() + needed > PAGE_BYTES) {
            assert!(self.pages.len() < PAGES_MAX, "the arena is full");
            // The first page grows with what is in it, so that a small store stays small.
            let capacity = if self.pages.is_empty() { needed } else { PAGE_BYTES };
            self.pages.push(Vec::with_capacity(capacity));
        }
        let page_index = self.pages.len() - 1;
        let page = &mut self.pages[page_index];
        let address = page_index * PAGE_BYTES + page.len();
        crate::varint::push_u64(page, record.len() as u64);
        page.extend_from_slice(record);
        u32::try_from(address).expect("the number of pages is bounded")
    }

    /// Returns the record at an address that [`ByteArena::push`] gave.
    pub(crate) fn get(&self, address: u32) -> &[u8] {
        let address = address as usize;
        let record = self.pages.get(address / PAGE_BYTES).and_then(|page| {
            let mut rest = page.get(address % PAGE_BYTES..)?;
            let length = crate::varint::take_u64(&mut rest)?;
            rest.get(..usize::try_from(length).ok()?)
        });
        record.expect("addresses come from this arena")
    }

    /// Returns the memory that is held, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.capacity() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_again_on_every_page() {
        let mut arena = ByteArena::default();
        let records: Vec<Vec<u8>> = (0..30_u8).map(|n| vec![n; usize::from(n) * 9_973]).collect();
        let addresses: Vec<u32> = records.iter().map(|record| arena.push(record)).collect();
        for (record, address) in records.iter().zip(addresses) {
            assert!(arena.get(address) == record);
        }
        assert!(arena.pages.len() > 3, "the records were meant to fill several pages");
    }

    #[test]
    fn the_longest_record_fits_and_one_byte_more_is_refused() {
        let mut arena = ByteArena::default();
        let record = vec![7; ByteArena::RECORD_BYTES_MAX];
        let address = arena.push(&record);
        assert_eq!(arena.get(address).len(), record.len());
        let longer = vec![7; ByteArena::RECORD_BYTES_MAX + 1];
        assert!(std::panic::catch_unwind(move || ByteArena::default().push(&longer)).is_err());
    }

    #[test]
    fn paged_items_keep_their_index() {
        let mut paged = Paged::new();
        (0..10_000_u32).for_each(|item| paged.push(item));
        assert_eq!(paged.get(4_096), Some(&4_096));
        assert_eq!(paged.get(10_000), None);
        assert_eq!(paged.iter().count(), 10_000);
    }
}
