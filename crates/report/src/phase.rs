//! Closed sets of words.

use std::fmt;
use std::str::FromStr;

/// A word that is not in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub struct UnknownWord;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant,)+ }

        impl $name {
            /// All, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(UnknownWord) }
            }
        }
    };
}

words! {
    /// How far a pull is, for its agent.
    PullPhase {
        /// It has begun; which layers it needs is not known yet.
        Resolving = "resolving",
        /// Layers are downloaded.
        Downloading = "downloading",
        /// Everything is there and layers are still unpacked.
        Unpacking = "unpacking",
        /// The image is there.
        Completed = "completed",
        /// It ended, and the image is not there.
        Failed = "failed",
    }
}

words! {
    /// How far a layer is.
    LayerPhase {
        /// Its download has not begun.
        Waiting = "waiting",
        /// It is downloaded.
        Downloading = "downloading",
        /// All bytes are there; containerd makes them durable.
        Committing = "committing",
        /// It is downloaded and not unpacked yet.
        Downloaded = "downloaded",
        /// It is unpacked.
        Unpacking = "unpacking",
        /// It is downloaded and unpacked.
        Done = "done",
        /// It was there before the pull.
        Cached = "cached",
        /// Its download ended without success.
        Failed = "failed",
    }
}

words! {
    /// How sure the name of an image is, the surest first.
    Confidence {
        /// The runtime itself, or a reference by digest, says so.
        Certain = "certain",
        /// The repository is known, and one image of it is asked for on the node.
        Likely = "likely",
        /// The repository is known, the tag is not.
        Repository = "repository",
        /// It is the only image that is asked for on the node.
        Guess = "guess",
        /// Nothing but a digest is known.
        Unknown = "unknown",
    }
}

words! {
    /// Where an agent looks.
    #[derive(Default)]
    Source {
        /// An agent that does not say.
        #[default]
        Unstated = "",
        /// The API of containerd.
        Containerd = "containerd",
        /// The files of containerd's content store, read-only: neither names nor failures are seen.
        ContentFolder = "content-folder",
    }
}
