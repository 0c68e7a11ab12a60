//! Aggregations that look at all values of a group at once.

use model::Labels;
use std::collections::HashMap;

use crate::annotations::Remark;
use crate::ast::{AggregateExpr, ExprKind, Span};
use crate::engine::QueryError;
use crate::eval::group::{GroupIndex, Grouping};
use crate::eval::label_functions::with_label;
use crate::eval::{
    ABSENT, Evaluator, Grid, OwnedRow, Sink, emit_all, execution, is_absent, strip_parens,
};
use crate::numeric::{format_plain, quantile};

impl Evaluator<'_> {
    /// Pushes a quantile per group.
    pub(super) fn quantile_rows(
        &self,
        aggregate: &AggregateExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let Some(param) = &aggregate.param else {
            return Err(execution("quantile needs a parameter"));
        };
        let param = strip_parens(param);
        let quantiles = self.scalar(param, grid)?;
        self.remark_quantiles(&quantiles, param.span);
        let (rows, points) = self.collect(strip_parens(&aggregate.expr), grid)?;
        let mut index = GroupIndex::default();
        let mut groups: Vec<(OwnedRow, Vec<usize>)> = Vec::new();
        for (position, row) in rows.iter().enumerate() {
            let labels = aggregate.grouping().labels_of(&row.labels);
            let (number, is_new) = index.number(&labels);
            if is_new {
                let values = vec![ABSENT; grid.count];
                groups.push((OwnedRow { labels, drop_name: false, values }, Vec::new()));
            }
            if let Some((result, members)) = groups.get_mut(number) {
                result.drop_name |= row.drop_name;
                members.push(position);
            }
        }
        let mut sorted = Vec::new();
        for (result, members) in &mut groups {
            self.cancellation.check()?;
            for (step, into) in result.values.iter_mut().enumerate() {
                let at_step = members.iter().map(|position| rows[*position].values[step]);
                sorted.clear();
                sorted.extend(at_step.filter(|value| !is_absent(*value)));
                if !sorted.is_empty() {
                    *into = quantile(quantiles[step], &mut sorted);
                }
            }
        }
        emit_all(groups.into_iter().map(|(result, _)| result).collect(), sink)?;
        self.release(points);
        Ok(())
    }

    /// Pushes how often each value occurs.
    pub(super) fn count_values_rows(
        &self,
        aggregate: &AggregateExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let param = aggregate.param.as_ref().map(|param| &strip_parens(param).kind);
        let Some(ExprKind::String(label)) = param else {
            return Err(execution("count_values needs the name of a label"));
        };
        if label.is_empty() {
            return Err(execution(format!("invalid label name {label:?}")));
        }
        let mut by = aggregate.labels.clone();
        by.push(label.clone());
        let grouping = match aggregate.grouping() {
            Grouping::By(_) => Grouping::By(&by),
            without @ Grouping::Without(_) => without,
        };
        let mut counts = ValueCounts::default();
        let mut points = 0;
        self.rows(strip_parens(&aggregate.expr), grid, &mut |row| {
            let mut numbers: HashMap<u64, usize> = HashMap::new();
            for (step, value) in row.values.iter().enumerate() {
                if is_absent(*value) {
                    continue;
                }
                let number = match numbers.get(&value.to_bits()) {
                    Some(number) => *number,
                    None => {
                        let labelled = with_label(&row.labels, label, &format_plain(*value))?;
                        let labels = grouping.labels_of(&labelled);
                        let (number, is_new) = counts.number(labels, grid.count);
                        if is_new {
                            self.hold(grid.count)?;
                            points += grid.count;
                        }
                        numbers.insert(value.to_bits(), number);
                        number
                    }
                };
                counts.add(number, step);
            }
            Ok(())
        })?;
        emit_all(counts.rows, sink)?;
        self.release(points);
        Ok(())
    }

    /// Warns about quantiles outside of 0 to 1.
    pub(in crate::eval) fn remark_quantiles(&self, quantiles: &[f64], span: Span) {
        let mut last_bits = None;
        for q in quantiles {
            if (q.is_nan() || !(0.0..=1.0).contains(q)) && last_bits != Some(q.to_bits()) {
                last_bits = Some(q.to_bits());
                self.remark(Remark::InvalidQuantile { quantile: *q }, span);
            }
        }
    }
}

#[derive(Debug, Default)]
struct ValueCounts {
    index: GroupIndex,
    rows: Vec<OwnedRow>,
}

impl ValueCounts {
    fn number(&mut self, labels: Labels, steps: usize) -> (usize, bool) {
        let (number, is_new) = self.index.number(&labels);
        if is_new {
            self.rows.push(OwnedRow { labels, drop_name: false, values: vec![ABSENT; steps] });
        }
        (number, is_new)
    }

    fn add(&mut self, number: usize, step: usize) {
        let row = self.rows.get_mut(number);
        if let Some(count) = row.and_then(|row| row.values.get_mut(step)) {
            *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
        }
    }
}
