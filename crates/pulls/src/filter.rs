//! Which pulls are asked for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use platform::Timestamp;

use crate::cluster::PodReference;
use crate::view::{PullState, PullView};

/// Which pulls are asked for: those that fit everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullFilter {
    /// The cluster, exactly.
    pub cluster: Option<String>,
    /// The node, exactly.
    pub node: Option<String>,
    /// A part of the image's name, of a name that it may have, or of its digest; upper and lower case are the same.
    pub image: Option<String>,
    /// The namespace of a pod that waits for it, exactly.
    pub namespace: Option<String>,
    /// A part of the name of a pod that waits for it; upper and lower case are the same.
    pub pod: Option<String>,
    /// Its state is one of these; any where there are none.
    pub states: Vec<PullState>,
    /// The pull, exactly.
    pub id: Option<String>,
}

impl PullFilter {
    /// Returns whether a pull is asked for. Allocates nothing.
    #[must_use]
    pub fn matches(&self, pull: &PullView) -> bool {
        self.wants_state(pull.state) && self.matches_rest(pull) && self.matches_image(pull)
    }

    pub(crate) fn wants_state(&self, state: PullState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    pub(crate) fn matches_image(&self, pull: &PullView) -> bool {
        self.image.as_deref().is_none_or(|part| names(pull, part))
    }

    /// Returns whether everything but state and image fits.
    pub(crate) fn matches_rest(&self, pull: &PullView) -> bool {
        let same = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|a| a == is);
        same(&self.node, &pull.node)
            && same(&self.cluster, &pull.cluster)
            && same(&self.id, &pull.id)
            && self.pods_match(&pull.pods)
    }

    fn pods_match(&self, pods: &[PodReference]) -> bool {
        if self.namespace.is_none() && self.pod.is_none() {
            return true;
        }
        pods.iter().any(|waiting| {
            self.namespace.as_deref().is_none_or(|asked| asked == &*waiting.namespace)
                && self.pod.as_deref().is_none_or(|part| contains(&waiting.pod, part))
        })
    }
}

fn names(pull: &PullView, part: &str) -> bool {
    contains(&pull.image, part)
        || contains(&pull.digest, part)
        || pull.candidates.iter().any(|name| contains(name, part))
}

/// Returns whether `part` is in `text`; upper and lower case of ASCII are the same.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let Some(first) = part.first() else { return true };
    let Some(last_begin) = text.len().checked_sub(part.len()) else { return false };
    // Subscribers ask this millions of times a second: where the first byte is not, nothing is compared.
    memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text)
        .take_while(|begin| *begin <= last_begin)
        .any(|begin| text[begin..begin + part.len()].eq_ignore_ascii_case(part))
}

/// A page of pulls that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullQuery {
    /// Which.
    pub filter: PullFilter,
    /// Those that began then or later.
    pub since: Option<Timestamp>,
    /// Those that began before then.
    pub until: Option<Timestamp>,
    /// Most pulls in the page; at least 1.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<PullCursor>,
}

/// Where a page of pulls ended: the next one begins with what is older. Pulls that begin meanwhile do not move it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullCursor {
    pub(crate) started_at: Timestamp,
    pub(crate) id: String,
}

impl PullView {
    /// Returns where a page ends whose last pull this is.
    pub(crate) fn cursor(&self) -> PullCursor {
        PullCursor { started_at: self.started_at, id: self.id.to_string() }
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor must be one that an earlier page ended with")]
pub struct PullCursorError;

impl fmt::Display for PullCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_at.as_millis(), self.id)
    }
}

impl FromStr for PullCursor {
    type Err = PullCursorError;

    fn from_str(text: &str) -> Result<Self, PullCursorError> {
        let (millis, id) = text.split_once('.').ok_or(PullCursorError)?;
        let millis = millis.parse().map_err(|_| PullCursorError)?;
        let hexadecimal = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal {
            return Err(PullCursorError);
        }
        Ok(Self { started_at: Timestamp::from_millis(millis), id: id.to_owned() })
    }
}

/// A page of pulls, the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PullPage {
    /// The pulls.
    pub pulls: Vec<Arc<PullView>>,
    /// What to ask for next; `None` at the end.
    pub next: Option<PullCursor>,
}

/// Which pods are asked for: those that fit everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFilter {
    /// The cluster, exactly.
    pub cluster: Option<String>,
    /// The node, exactly.
    pub node: Option<String>,
    /// The namespace, exactly.
    pub namespace: Option<String>,
    /// A part of the name; upper and lower case are the same.
    pub pod: Option<String>,
    /// A part of the name of an image that one of its containers waits for; upper and lower case are the same.
    pub image: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_whatever_its_case() {
        for (text, part, found) in [
            ("docker.io/library/nginx:1.27", "NGINX:", true),
            ("docker.io/library/nginx:1.27", "", true),
            ("", "", true),
            ("", "a", false),
            ("ab", "abc", false),
            ("bild-ä", "BILD-ä", true),
        ] {
            assert_eq!(contains(text, part), found, "{text} {part}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = PullCursor { started_at: Timestamp::from_millis(-7), id: "0f".repeat(16) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "1.2", "x.0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "1.0F0g"] {
            assert_eq!(text.parse::<PullCursor>(), Err(PullCursorError), "{text}");
        }
    }
}
