//! What happens to pulls, as subscribers are told.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use platform::Timestamp;

use crate::view::PullView;

/// Where an update is in the order of all updates of its tenant. Ids of an earlier run of the server are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId {
    /// When the server started.
    pub(crate) run: u64,
    /// Counts the updates of the run, from 1.
    pub(crate) number: u64,
}

/// A text that is no [`UpdateId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an update")]
pub struct UpdateIdError;

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.run, self.number)
    }
}

impl FromStr for UpdateId {
    type Err = UpdateIdError;

    fn from_str(text: &str) -> Result<Self, UpdateIdError> {
        let (run, number) = text.split_once('-').ok_or(UpdateIdError)?;
        let read = |digits| u64::from_str_radix(digits, 16).map_err(|_| UpdateIdError);
        Ok(Self { run: read(run)?, number: read(number)? })
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpdateKind {
    /// A pull is seen for the first time.
    PullStarted,
    /// It goes on; only the newest of a pull is delivered.
    PullProgress,
    /// The image is there.
    PullCompleted,
    /// It ended, and the image is not there.
    PullFailed,
    /// The download of a layer began. Updates of layers go only to those who ask for them.
    LayerStarted,
    /// It goes on; only the newest of a layer is delivered.
    LayerProgress,
    /// It is there, or was before.
    LayerCompleted,
    /// The pull has left the memory of the server; the state database still has it.
    PullRemoved,
}

impl UpdateKind {
    /// All, in order.
    pub const ALL: [Self; 8] = [
        Self::PullStarted,
        Self::PullProgress,
        Self::PullCompleted,
        Self::PullFailed,
        Self::LayerStarted,
        Self::LayerProgress,
        Self::LayerCompleted,
        Self::PullRemoved,
    ];

    /// Returns whether it ends a pull.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::PullCompleted | Self::PullFailed)
    }

    /// Returns whether it is about a layer.
    #[must_use]
    pub const fn is_of_layer(self) -> bool {
        matches!(self, Self::LayerStarted | Self::LayerProgress | Self::LayerCompleted)
    }
}

/// Something that happened to a pull. Immutable: subscribers share it.
#[derive(Debug)]
pub struct Update {
    /// Where it is in the order of updates.
    pub id: UpdateId,
    /// What happened.
    pub kind: UpdateKind,
    /// When, by this server's clock.
    pub at: Timestamp,
    /// The pull thereafter.
    pub pull: Arc<PullView>,
    /// Which layer, where it is about one.
    pub layer: Option<usize>,
    rendered: OnceLock<bytes::Bytes>,
    /// One bit for each image that somebody asks for: whether it was compared, and whether it fits.
    compared: AtomicU64,
    fits: AtomicU64,
}

/// What those share who ask for the same image: a bit of updates that came after its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) bit: u32,
    /// Updates up to this number may have the bit from somebody before.
    pub(crate) since: u64,
}

impl Update {
    pub(crate) fn new(
        id: UpdateId,
        kind: UpdateKind,
        at: Timestamp,
        pull: Arc<PullView>,
        layer: Option<usize>,
    ) -> Arc<Self> {
        let (compared, fits) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { id, kind, at, pull, layer, rendered: OnceLock::new(), compared, fits })
    }

    /// Returns what `compare` says, or said to somebody before who asks for the same.
    pub(crate) fn fits(&self, mark: Mark, compare: impl FnOnce() -> bool) -> bool {
        if self.id.number <= mark.since {
            return compare();
        }
        let bit = 1 << mark.bit;
        if self.compared.load(Ordering::Acquire) & bit != 0 {
            return self.fits.load(Ordering::Relaxed) & bit != 0;
        }
        let fits = compare();
        if fits {
            self.fits.fetch_or(bit, Ordering::Relaxed);
        }
        self.compared.fetch_or(bit, Ordering::Release);
        fits
    }

    /// Returns what `render` makes of it: made once, by the first who asks, for all. Everybody passes the same function.
    pub fn rendered(&self, render: impl FnOnce(&Self) -> bytes::Bytes) -> &bytes::Bytes {
        self.rendered.get_or_init(|| render(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was() {
        let id = UpdateId { run: 0x1234, number: u64::MAX };
        assert_eq!(id.to_string(), "1234-ffffffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1", "-", "1-", "g-1", "1-2-3", "1-10000000000000000"] {
            assert_eq!(text.parse::<UpdateId>(), Err(UpdateIdError), "{text}");
        }
    }
}
