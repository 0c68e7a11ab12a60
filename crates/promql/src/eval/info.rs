//! `info`: labels of info metrics added to other series of the same target.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::call::argument;
use super::{ABSENT, Evaluator, Grid, Merger, OwnedRow, Sink, execution, is_absent, strip_parens};
use crate::ast::{
    AtModifier, CallExpr, DurationExpr, DurationKind, Expr, ExprKind, Span, VectorSelector,
};
use crate::engine::QueryError;

/// The metric that is looked at when the query names none.
const DEFAULT_METRIC: &str = "target_info";
/// The metrics that are looked at when the query only excludes some.
const DEFAULT_METRICS: &str = ".+_info";
/// The labels that have to agree.
const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];
/// Most values of an identifying label that are made a condition of the selection.
const IDENTIFYING_VALUES_MAX: usize = 500;

impl Evaluator<'_> {
    /// Pushes series with the labels of their info metrics added.
    pub(super) fn info_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let base_arg = argument(call, 0)?;
        let wanted = Wanted::of(call.args.get(1))?;
        let (base, base_points) = self.collect(base_arg, grid)?;
        let (at, offset) = self.reference(base_arg)?.unwrap_or((None, 0));
        let offset = DurationExpr { kind: DurationKind::Millis(offset), span: Span::default() };
        let selector = VectorSelector {
            name: None,
            matchers: wanted.matchers(&base)?,
            offset: Some(offset),
            at,
            extension: None,
        };
        let mut infos = Vec::new();
        let mut info_points = 0;
        if base.iter().any(|row| !identity(&row.labels).is_empty()) {
            // The times of the samples tell which of two conflicting info series is the newer one.
            self.sample_time_rows(&selector, grid, &mut |row| {
                self.hold(row.values.len())?;
                info_points += row.values.len();
                let values = std::mem::take(row.values);
                infos.push(OwnedRow { labels: row.labels, drop_name: false, values });
                Ok(())
            })?;
        }
        let infos = InfoSeries::of(infos);
        let mut merger = Merger::default();
        for row in base {
            self.cancellation.check()?;
            wanted.enrich(row, &infos, &mut merger)?;
        }
        merger.emit(sink)?;
        self.release(base_points + info_points);
        Ok(())
    }

    /// Returns the fixed time and the offset at which the first selector within `expr` reads.
    fn reference(&self, expr: &Expr) -> Result<Option<(Option<AtModifier>, i64)>, QueryError> {
        let first_of = |parts: &[&Expr]| {
            for part in parts {
                if let Some(found) = self.reference(part)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        };
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => Ok(None),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.reference(inner),
            ExprKind::Binary(binary) => first_of(&[&binary.left, &binary.right]),
            ExprKind::Aggregate(aggregate) => self.reference(&aggregate.expr),
            ExprKind::Call(call) => first_of(&call.args.iter().collect::<Vec<_>>()),
            ExprKind::Vector(selector) => {
                Ok(Some((selector.at, self.offset(selector.offset.as_ref())?)))
            }
            ExprKind::Matrix(matrix) => {
                let selector = &matrix.selector;
                Ok(Some((selector.at, self.offset(selector.offset.as_ref())?)))
            }
            ExprKind::Subquery(subquery) => {
                let outer = self.offset(subquery.offset.as_ref())?;
                Ok(self.reference(&subquery.expr)?.map(|(at, offset)| match at {
                    Some(at) => (Some(at), offset),
                    None => (subquery.at, offset.saturating_add(outer)),
                }))
            }
        }
    }
}

/// Which labels of which info metrics are wanted.
#[derive(Debug)]
struct Wanted {
    /// Conditions on the metric's name; at least one of them is positive.
    names: Vec<Matcher>,
    /// Conditions on the labels to add; none means all labels.
    labels: Vec<Matcher>,
}

impl Wanted {
    fn of(arg: Option<&Expr>) -> Result<Self, QueryError> {
        let given = match arg.map(|arg| &strip_parens(arg).kind) {
            None => &[][..],
            Some(ExprKind::Vector(selector)) => selector.matchers.as_slice(),
            Some(_) => return Err(execution("info needs a selector as its second argument")),
        };
        let (mut names, labels): (Vec<Matcher>, Vec<Matcher>) =
            given.iter().cloned().partition(|matcher| matcher.name() == METRIC_NAME);
        let is_positive =
            |matcher: &Matcher| matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, DEFAULT_METRIC));
        } else if !names.iter().any(is_positive) {
            names.push(matcher(METRIC_NAME, DEFAULT_METRICS)?);
        }
        Ok(Self { names, labels })
    }

    /// Returns whether a series is itself one of the info metrics.
    fn is_info(&self, labels: &Labels) -> bool {
        let name = labels.metric_name().unwrap_or_default();
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    /// Returns the conditions on info series that may belong to any of the series.
    fn matchers(&self, base: &[OwnedRow]) -> Result<Vec<Matcher>, QueryError> {
        let mut matchers: Vec<Matcher> = self.names.iter().chain(&self.labels).cloned().collect();
        for label in IDENTIFYING_LABELS {
            let enriched = base.iter().filter(|row| !self.is_info(&row.labels));
            let values: BTreeSet<&str> =
                enriched.map(|row| row.labels.get(label).unwrap_or_default()).collect();
            if values.is_empty() || values.len() > IDENTIFYING_VALUES_MAX {
                continue;
            }
            let escaped: Vec<String> = values.into_iter().map(regex::escape).collect();
            matchers.push(matcher(label, &escaped.join("|"))?);
        }
        Ok(matchers)
    }

    fn enrich(
        &self,
        row: OwnedRow,
        infos: &InfoSeries,
        merger: &mut Merger,
    ) -> Result<(), QueryError> {
        if self.is_info(&row.labels) {
            return merger.add(row.labels, row.drop_name, row.values);
        }
        let candidates = infos.candidates(&row.labels);
        let mut parts: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut rows: Vec<(Labels, Vec<f64>)> = Vec::new();
        for (step, value) in row.values.iter().enumerate() {
            if is_absent(*value) {
                continue;
            }
            let found = infos.newest(&candidates, step)?;
            if found.is_empty() && !self.labels.iter().all(Matcher::matches_absent) {
                continue;
            }
            let part = match parts.get(&found) {
                Some(part) => *part,
                None => {
                    let labels = self.enriched(&row.labels, &found, infos)?;
                    rows.push((labels, vec![ABSENT; row.values.len()]));
                    parts.insert(found, rows.len() - 1);
                    rows.len() - 1
                }
            };
            rows[part].1[step] = *value;
        }
        for (labels, values) in rows {
            merger.add(labels, row.drop_name, values)?;
        }
        Ok(())
    }

    fn enriched(
        &self,
        base: &Labels,
        found: &[usize],
        infos: &InfoSeries,
    ) -> Result<Labels, QueryError> {
        let mut builder = base.to_builder();
        for position in found {
            for (name, value) in &infos.rows[*position].labels {
                let is_wanted = self.labels.is_empty()
                    || self.labels.iter().any(|matcher| matcher.name() == name);
                if name == METRIC_NAME || !is_wanted || base.get(name).is_some() {
                    continue;
                }
                if builder.get(name).is_some_and(|present| present != value) {
                    return Err(execution(format!("conflicting label: {name}")));
                }
                builder.set(name, value);
            }
        }
        builder.build().map_err(|error| execution(error.to_string()))
    }
}

/// Info series by what they describe.
#[derive(Debug)]
struct InfoSeries {
    /// Values are the times of the samples.
    rows: Vec<OwnedRow>,
    /// Positions by identity, then by the metric's name.
    positions: HashMap<Labels, BTreeMap<String, Vec<usize>>>,
}

impl InfoSeries {
    fn of(rows: Vec<OwnedRow>) -> Self {
        let mut positions: HashMap<Labels, BTreeMap<String, Vec<usize>>> = HashMap::new();
        for (position, row) in rows.iter().enumerate() {
            let name = row.labels.metric_name().unwrap_or_default().to_owned();
            let by_name = positions.entry(identity(&row.labels)).or_default();
            by_name.entry(name).or_default().push(position);
        }
        Self { rows, positions }
    }

    /// Returns the info series of a series, those of one metric together.
    fn candidates(&self, labels: &Labels) -> Vec<&[usize]> {
        let identity = identity(labels);
        let by_name = self.positions.get(&identity).filter(|_| !identity.is_empty());
        by_name.map(|by_name| by_name.values().map(Vec::as_slice).collect()).unwrap_or_default()
    }

    /// Returns the series with the newest sample of each metric at a step.
    fn newest(&self, candidates: &[&[usize]], step: usize) -> Result<Vec<usize>, QueryError> {
        let mut found = Vec::new();
        for positions in candidates {
            let mut newest: Option<(usize, f64)> = None;
            for position in *positions {
                let time = self.rows[*position].values[step];
                match newest {
                    _ if is_absent(time) => {}
                    Some((_, known)) if known > time => {}
                    Some((known, same)) if same == time => {
                        let (known, new) = (&self.rows[known].labels, &self.rows[*position].labels);
                        let millis = (time * 1000.0).round();
                        return Err(execution(format!(
                            "found duplicate series for info metric: existing {known} @ {millis}, \
                             new {new} @ {millis}"
                        )));
                    }
                    _ => newest = Some((*position, time)),
                }
            }
            found.extend(newest.map(|(position, _)| position));
        }
        Ok(found)
    }
}

/// Returns the labels that tell which target a series belongs to.
fn identity(labels: &Labels) -> Labels {
    labels.filtered(|name| IDENTIFYING_LABELS.contains(&name))
}

fn matcher(name: &str, pattern: &str) -> Result<Matcher, QueryError> {
    Matcher::new(name, MatchOp::Regex, pattern).map_err(|error| execution(error.to_string()))
}
