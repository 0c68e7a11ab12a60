//! Which images are asked for.
//!
//! Comparing a name costs more than all else that a subscriber does for an update. Those who ask for the same image share
//! what was found: a bit of each update.

use crate::update::Mark;

/// Most images that are compared once for all who ask for them; for others everybody compares.
pub(super) const MARKS_MAX: usize = u64::BITS as usize;

/// Which bit of updates is whose.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Option<Held>>);

#[derive(Debug)]
struct Held {
    image: String,
    mark: Mark,
    holders: usize,
}

impl Marks {
    /// Returns the mark of those who ask for an image; `None` where there is none left. `newest` is the number of the
    /// newest update.
    pub(super) fn hold(&mut self, image: &str, newest: u64) -> Option<Mark> {
        let image = image.to_ascii_lowercase();
        if let Some(held) = self.0.iter_mut().flatten().find(|held| held.image == image) {
            held.holders += 1;
            return Some(held.mark);
        }
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if place == MARKS_MAX {
            return None;
        }
        if place == self.0.len() {
            self.0.push(None);
        }
        let mark = Mark { bit: u32::try_from(place).ok()?, since: newest };
        self.0[place] = Some(Held { image, mark, holders: 1 });
        Some(mark)
    }

    /// Gives a mark back.
    pub(super) fn release(&mut self, mark: Mark) {
        let Some(place) = self.0.get_mut(mark.bit as usize) else { return };
        if let Some(held) = place {
            held.holders -= 1;
            if held.holders == 0 {
                *place = None;
            }
        }
    }
}
