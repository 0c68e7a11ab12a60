//! Groups of series that agree in some of their labels.

use model::{Labels, METRIC_NAME};
use std::collections::HashMap;

/// Which labels make up the identity of a group.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grouping<'g> {
    /// These.
    By(&'g [String]),
    /// All but these and the metric's name.
    Without(&'g [String]),
}

impl Grouping<'_> {
    /// Returns the labels of the group that a series belongs to.
    pub(super) fn labels_of(self, labels: &Labels) -> Labels {
        match self {
            Self::By([]) => Labels::empty(),
            Self::By(names) => labels.filtered(|name| names.iter().any(|kept| kept == name)),
            Self::Without(names) => labels.filtered(|name| {
                name != METRIC_NAME && !names.iter().any(|removed| removed == name)
            }),
        }
    }
}

/// Numbers groups in the order in which they are first seen.
#[derive(Debug, Default)]
pub(super) struct GroupIndex {
    numbers: HashMap<Labels, usize>,
}

impl GroupIndex {
    /// Returns the number of a group and whether it is new.
    pub(super) fn number(&mut self, labels: &Labels) -> (usize, bool) {
        if let Some(number) = self.numbers.get(labels) {
            return (*number, false);
        }
        let number = self.numbers.len();
        self.numbers.insert(labels.clone(), number);
        (number, true)
    }

    /// Returns the number of a group that was seen.
    pub(super) fn find(&self, labels: &Labels) -> Option<usize> {
        self.numbers.get(labels).copied()
    }
}
