//! The shapes of the Prometheus API's answers, for the description of the API.
#![expect(dead_code, reason = "describes what is written by hand")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// `success`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Success {
    Success,
}

/// What a query evaluates to.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct QueryData {
    result_type: ResultType,
    /// For a vector `[{"metric":{…},"value":[seconds,"number"]}]`, for a matrix the same with `values`, for a scalar
    /// or string `[seconds,"text"]`.
    result: Vec<Value>,
}

/// The type of a result.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum ResultType {
    Vector,
    Matrix,
    Scalar,
    String,
}

/// The answer to a query.
#[derive(ToSchema)]
pub(crate) struct QueryAnswer {
    status: Success,
    data: QueryData,
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
    #[schema(nullable = false)]
    infos: Option<Vec<String>>,
}

/// Names, ascending.
#[derive(ToSchema)]
pub(crate) struct NamesAnswer {
    status: Success,
    data: Vec<String>,
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
}

/// Series by their labels.
#[derive(ToSchema)]
pub(crate) struct SeriesAnswer {
    status: Success,
    data: Vec<BTreeMap<String, String>>,
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
}

/// What is known about a metric.
#[derive(ToSchema)]
struct Metadata {
    /// Such as `counter` or `gauge`; `unknown` where nobody said.
    r#type: String,
    help: String,
    unit: String,
}

/// Descriptions by metric.
#[derive(ToSchema)]
pub(crate) struct MetadataAnswer {
    status: Success,
    data: BTreeMap<String, Vec<Metadata>>,
}

/// A text.
#[derive(ToSchema)]
pub(crate) struct TextAnswer {
    status: Success,
    data: String,
}

/// The program's version and origin; what is not known is empty.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BuildInfo {
    version: String,
    revision: String,
    branch: String,
    build_user: String,
    build_date: String,
    go_version: String,
}

/// The answer about the program.
#[derive(ToSchema)]
pub(crate) struct BuildInfoAnswer {
    status: Success,
    data: BuildInfo,
}
