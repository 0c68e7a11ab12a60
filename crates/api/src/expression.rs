//! Reads PromQL.

use model::Matcher;
use promql::ast::Expr;

use crate::failure::Failure;

/// Reads a query; the error names the parameter.
pub(crate) fn parse_query(text: &str) -> Result<Expr, Failure> {
    promql::parse(text).map_err(|error| Failure::parameter("query", error))
}

/// Reads a selector of series from the parameter `match[]`.
pub(crate) fn parse_selector(text: &str) -> Result<Vec<Matcher>, Failure> {
    let invalid = |reason: String| Failure::parameter("match[]", reason);
    let matchers = promql::parse_selector(text).map_err(|error| invalid(error.to_string()))?;
    if matchers.iter().all(Matcher::matches_absent) {
        return Err(invalid("match[] must contain at least one non-empty matcher".to_owned()));
    }
    Ok(matchers)
}
