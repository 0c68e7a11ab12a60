//! Arithmetic and comparisons between the series of two vectors.

use model::Labels;

use super::super::group::GroupIndex;
use super::super::{
    ABSENT, Evaluator, Grid, Merger, OwnedRow, Sink, execution, is_absent, without_metric_identity,
};
use super::{Operation, operation};
use crate::ast::{BinaryExpr, MatchCardinality, VectorMatching};
use crate::engine::QueryError;

impl Evaluator<'_> {
    /// Pushes the rows of an operator between series that find each other by their labels.
    pub(super) fn matched_rows(
        &self,
        binary: &BinaryExpr,
        matching: &VectorMatching,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let (left, left_points) = self.collect(&binary.left, grid)?;
        let (right, right_points) = self.collect(&binary.right, grid)?;
        let is_swapped = matching.cardinality == MatchCardinality::OneToMany;
        // "many" is the side that may repeat a signature, "one" the side that may not.
        let (many, one) = if is_swapped { (&right, &left) } else { (&left, &right) };
        let matcher = Matcher {
            operation: operation(binary.op)?,
            returns_bool: binary.return_bool,
            matching,
            is_swapped,
            count: grid.count,
            has_many: present_steps(many, grid.count),
        };
        let mut merger = Merger::default();
        for group in groups(many, one, matching) {
            self.cancellation.check()?;
            matcher.join(&group, &mut merger)?;
        }
        merger.emit(sink)?;
        self.release(left_points + right_points);
        Ok(())
    }
}

/// The series of both sides that share a signature.
#[derive(Debug)]
struct MatchGroup<'m> {
    signature: Labels,
    many: Vec<&'m OwnedRow>,
    one: Vec<&'m OwnedRow>,
}

fn groups<'m>(
    many: &'m [OwnedRow],
    one: &'m [OwnedRow],
    matching: &VectorMatching,
) -> Vec<MatchGroup<'m>> {
    let mut index = GroupIndex::default();
    let mut groups: Vec<MatchGroup<'m>> = Vec::new();
    let sides = many.iter().map(|row| (row, true)).chain(one.iter().map(|row| (row, false)));
    for (row, is_many) in sides {
        let signature = matching.signature(&row.labels);
        let (number, is_new) = index.number(&signature);
        if is_new {
            groups.push(MatchGroup { signature, many: Vec::new(), one: Vec::new() });
        }
        if let Some(group) = groups.get_mut(number) {
            if is_many { group.many.push(row) } else { group.one.push(row) }
        }
    }
    groups
}

struct Matcher<'m> {
    operation: Operation,
    returns_bool: bool,
    matching: &'m VectorMatching,
    /// Whether the side that may repeat a signature is the right one.
    is_swapped: bool,
    count: usize,
    /// The steps at which the side that may repeat a signature has any value.
    has_many: Vec<bool>,
}

impl Matcher<'_> {
    fn join(&self, group: &MatchGroup<'_>, merger: &mut Merger) -> Result<(), QueryError> {
        self.check_one_side(group)?;
        self.check_many_side(group)?;
        let mut joined: Vec<(Labels, Vec<bool>)> = Vec::new();
        for many in &group.many {
            for one in &group.one {
                let labels = self.result_labels(&many.labels, &one.labels);
                self.check_unique(&labels, many, one, &mut joined)?;
                let values = (0..self.count)
                    .map(|step| self.value(many.values[step], one.values[step]))
                    .collect();
                merger.add(labels, self.drops_name(many), values)?;
            }
        }
        self.fill(group, merger)
    }

    /// Adds what comes of values without a partner.
    fn fill(&self, group: &MatchGroup<'_>, merger: &mut Merger) -> Result<(), QueryError> {
        let (fill_many, fill_one) = if self.is_swapped {
            (self.matching.fill_right, self.matching.fill_left)
        } else {
            (self.matching.fill_left, self.matching.fill_right)
        };
        if let Some(fill) = fill_one {
            let has_one = present_steps_of(&group.one, self.count);
            for many in &group.many {
                let values =
                    (0..self.count)
                        .map(|step| {
                            if has_one[step] { ABSENT } else { self.value(many.values[step], fill) }
                        })
                        .collect();
                let labels = self.result_labels(&many.labels, &group.signature);
                merger.add(labels, self.drops_name(many), values)?;
            }
        }
        if let Some(fill) = fill_many {
            let has_many = present_steps_of(&group.many, self.count);
            for one in &group.one {
                let values =
                    (0..self.count)
                        .map(|step| {
                            if has_many[step] { ABSENT } else { self.value(fill, one.values[step]) }
                        })
                        .collect();
                let labels = self.result_labels(&group.signature, &one.labels);
                merger.add(labels, self.returns_bool, values)?;
            }
        }
        Ok(())
    }

    fn value(&self, many: f64, one: f64) -> f64 {
        if is_absent(many) || is_absent(one) {
            return ABSENT;
        }
        let (left, right) = if self.is_swapped { (one, many) } else { (many, one) };
        self.operation.apply(left, right, left, self.returns_bool)
    }

    fn drops_name(&self, many: &OwnedRow) -> bool {
        self.returns_bool || many.drop_name
    }

    /// Fails when two series of the side that must not repeat a signature have values at the same time.
    fn check_one_side(&self, group: &MatchGroup<'_>) -> Result<(), QueryError> {
        let Some((first, others)) = group.one.split_first().filter(|(_, rest)| !rest.is_empty())
        else {
            return Ok(());
        };
        let is_filled = self.matching.fill_left.is_some() || self.matching.fill_right.is_some();
        for step in (0..self.count).filter(|step| is_filled || self.has_many[*step]) {
            let mut present = std::iter::once(first)
                .chain(others)
                .filter(|row| !is_absent(row.values[step]))
                .map(|row| &row.labels);
            if let (Some(known), Some(duplicate)) = (present.next(), present.next()) {
                let (low, high) = (known.min(duplicate), known.max(duplicate));
                let side = if self.is_swapped { "left" } else { "right" };
                let group = &group.signature;
                return Err(execution(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of \
                     the operation: [{low}, {high}];many-to-many matching not allowed: matching \
                     labels must be unique on one side"
                )));
            }
        }
        Ok(())
    }

    /// Fails when two series of the left side of a one-to-one matching find a partner at the same time.
    fn check_many_side(&self, group: &MatchGroup<'_>) -> Result<(), QueryError> {
        if self.matching.cardinality != MatchCardinality::OneToOne || group.many.len() < 2 {
            return Ok(());
        }
        let fills_one = self.matching.fill_right.is_some();
        let has_one = present_steps_of(&group.one, self.count);
        for step in (0..self.count).filter(|step| fills_one || has_one[*step]) {
            let present = group.many.iter().filter(|row| !is_absent(row.values[step])).count();
            if present > 1 {
                return Err(execution(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)",
                ));
            }
        }
        Ok(())
    }

    /// Fails when pairs with equal result labels match at the same time, even if the comparison drops them.
    fn check_unique(
        &self,
        labels: &Labels,
        many: &OwnedRow,
        one: &OwnedRow,
        joined: &mut Vec<(Labels, Vec<bool>)>,
    ) -> Result<(), QueryError> {
        if self.matching.cardinality == MatchCardinality::OneToOne {
            return Ok(());
        }
        let pairs = many.values.iter().zip(&one.values);
        let matches: Vec<bool> =
            pairs.map(|(many, one)| !is_absent(*many) && !is_absent(*one)).collect();
        let known = joined.iter_mut().find(|(known, _)| known == labels);
        let Some((_, known)) = known else {
            joined.push((labels.clone(), matches));
            return Ok(());
        };
        for (known, matches) in known.iter_mut().zip(matches) {
            if *known && matches {
                return Err(execution(
                    "multiple matches for labels: grouping labels must ensure unique matches",
                ));
            }
            *known |= matches;
        }
        Ok(())
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = match self.operation {
            Operation::Arithmetic(_) => without_metric_identity(many),
            Operation::Comparison(_) => many.clone(),
        };
        let listed = |name: &str| self.matching.labels.iter().any(|label| label == name);
        if self.matching.cardinality == MatchCardinality::OneToOne {
            labels = labels.filtered(|name| listed(name) == self.matching.on);
        }
        if self.matching.include.is_empty() {
            return labels;
        }
        let mut builder = labels.to_builder();
        for name in &self.matching.include {
            builder.set(name, one.get(name).unwrap_or_default());
        }
        builder.build().unwrap_or(labels)
    }
}

fn present_steps(rows: &[OwnedRow], count: usize) -> Vec<bool> {
    present_steps_of(&rows.iter().collect::<Vec<_>>(), count)
}

fn present_steps_of(rows: &[&OwnedRow], count: usize) -> Vec<bool> {
    let mut present = vec![false; count];
    for row in rows {
        for (present, value) in present.iter_mut().zip(&row.values) {
            *present |= !is_absent(*value);
        }
    }
    present
}
