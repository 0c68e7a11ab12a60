//! Functions that change labels.

use model::{AnchoredRegex, Labels, LabelsBuilder, METRIC_NAME, MatchOp};

use super::call::{argument, text_argument};
use super::{Evaluator, Grid, Merger, Sink, execution, strip_parens};
use crate::ast::{CallExpr, Expr, ExprKind};
use crate::engine::QueryError;

impl Evaluator<'_> {
    /// Pushes rows one of whose labels is replaced by what a regular expression finds in another.
    pub(super) fn label_replace_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let target = text_argument(call, 1)?;
        let template = text_argument(call, 2)?;
        let origin = text_argument(call, 3)?;
        let pattern = text_argument(call, 4)?;
        let regex = AnchoredRegex::new(pattern).map_err(|_| {
            execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        check_label_name(target, "destination", "label_replace")?;
        self.relabelled_rows(call, grid, sink, target, |labels| {
            regex.expand(labels.get(origin).unwrap_or_default(), template)
        })
    }

    /// Pushes rows one of whose labels is replaced by others joined.
    pub(super) fn label_join_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let target = text_argument(call, 1)?;
        let separator = text_argument(call, 2)?;
        let origins: Vec<&str> = (3..call.args.len())
            .map(|index| text_argument(call, index))
            .collect::<Result<_, _>>()?;
        for origin in &origins {
            check_label_name(origin, "source", "label_join")?;
        }
        check_label_name(target, "destination", "label_join")?;
        self.relabelled_rows(call, grid, sink, target, |labels| {
            let values: Vec<&str> =
                origins.iter().map(|origin| labels.get(origin).unwrap_or_default()).collect();
            Some(values.join(separator))
        })
    }

    fn relabelled_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
        target: &str,
        value_of: impl Fn(&Labels) -> Option<String>,
    ) -> Result<(), QueryError> {
        let (rows, points) = self.collect(argument(call, 0)?, grid)?;
        let mut merger = Merger::default();
        for row in rows {
            let (labels, drop_name) = match value_of(&row.labels) {
                Some(value) => {
                    let labels = with_label(&row.labels, target, &value)?;
                    (labels, row.drop_name && target != METRIC_NAME)
                }
                None => (row.labels, row.drop_name),
            };
            merger.add(labels, drop_name, row.values)?;
        }
        merger.emit(sink)?;
        self.release(points);
        Ok(())
    }
}

/// Returns labels with one of them set, or removed when `value` is empty.
pub(super) fn with_label(labels: &Labels, name: &str, value: &str) -> Result<Labels, QueryError> {
    let mut builder = labels.to_builder();
    builder.set(name, value);
    build(&builder)
}

/// Returns the labels that `absent` gives to its result: those that the selector demands to be equal to a text.
pub(super) fn labels_of_absent(arg: &Expr) -> Labels {
    let matchers = match &strip_parens(arg).kind {
        ExprKind::Vector(selector) => &selector.matchers,
        ExprKind::Matrix(matrix) => &matrix.selector.matchers,
        _ => return Labels::empty(),
    };
    let mut builder = LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            builder.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            builder.remove(matcher.name());
        }
    }
    builder.build().unwrap_or_else(|_| Labels::empty())
}

fn build(builder: &LabelsBuilder) -> Result<Labels, QueryError> {
    builder.build().map_err(|error| execution(error.to_string()))
}

fn check_label_name(name: &str, role: &str, function: &str) -> Result<(), QueryError> {
    if name.is_empty() {
        return Err(execution(format!("invalid {role} label name in {function}(): {name}")));
    }
    Ok(())
}
