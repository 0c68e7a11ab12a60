//! The syntax tree: what a query says, with where it says it.

use model::Matcher;

/// A half-open range of bytes within the query's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// A text.
    String,
    /// One value per series and step.
    InstantVector,
    /// A window of samples per series and step.
    RangeVector,
}

impl ValueType {
    /// Returns the name as Prometheus' messages spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::InstantVector => "instant vector",
            Self::RangeVector => "range vector",
        }
    }
}

/// An expression with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The sorts of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `0x1f`, `Inf`, `5m` (as seconds).
    Number(f64),
    /// `"text"`.
    String(String),
    /// `(inner)`.
    Paren(Box<Expr>),
    /// `-inner`, `+inner`.
    Unary(UnaryOp, Box<Expr>),
    /// `left op right`.
    Binary(Box<BinaryExpr>),
    /// `sum by (a) (inner)`.
    Aggregate(Box<AggregateExpr>),
    /// `rate(…)`.
    Call(Box<CallExpr>),
    /// `name{a="b"}`.
    Vector(VectorSelector),
    /// `name{a="b"}[5m]`.
    Matrix(Box<MatrixSelector>),
    /// `inner[30m:1m]`.
    Subquery(Box<SubqueryExpr>),
}

/// A sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `</`: the part of a histogram below a value.
    TrimUpper,
    /// `>/`: the part of a histogram above a value.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Returns whether it compares.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// Returns whether it combines sets.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// A binary expression.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// The left side.
    pub left: Expr,
    /// The right side.
    pub right: Expr,
    /// Whether a comparison returns 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How series of both sides find each other; `None` when not both sides are vectors.
    pub matching: Option<VectorMatching>,
}

/// How the series of two vectors find each other.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// How many series of one side may meet one of the other.
    pub cardinality: MatchCardinality,
    /// `on` (true) or `ignoring` (false).
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// The labels that `group_left` or `group_right` copy from the "one" side.
    pub include: Vec<String>,
    /// What stands in for a missing left side (`fill`, `fill_left`).
    pub fill_left: Option<f64>,
    /// What stands in for a missing right side (`fill`, `fill_right`).
    pub fill_right: Option<f64>,
}

/// How many series of one side may meet one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchCardinality {
    /// Each meets at most one.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// An aggregation over series.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateExpr {
    /// What is computed.
    pub op: AggregateOp,
    /// Over what.
    pub expr: Expr,
    /// The parameter of `topk`, `quantile`, `count_values` and their like.
    pub param: Option<Expr>,
    /// Whether `labels` are those to leave out.
    pub without: bool,
    /// The labels of `by` or `without`.
    pub labels: Vec<String>,
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    Topk,
    /// `bottomk`
    Bottomk,
    /// `count_values`
    CountValues,
    /// `quantile`
    Quantile,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
}

impl AggregateOp {
    /// Every operator.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Returns whether the operator takes a parameter before the vector.
    #[must_use]
    pub const fn takes_parameter(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::CountValues
                | Self::Quantile
                | Self::Limitk
                | Self::LimitRatio
        )
    }
}

/// A function call; the parser has checked the number and types of the arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct CallExpr {
    /// Which function.
    pub function: &'static crate::functions::Signature,
    /// The arguments, without those left to their defaults.
    pub args: Vec<Expr>,
}

/// A selection of series.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric's name when it is written before the braces; it is among the matchers too.
    pub name: Option<String>,
    /// All conditions, that of the name included.
    pub matchers: Vec<Matcher>,
    /// How far back in time to look.
    pub offset: Option<DurationExpr>,
    /// The fixed time to look at.
    pub at: Option<AtModifier>,
    /// `anchored` or `smoothed`.
    pub extension: Option<RangeExtension>,
}

/// A selection of windows of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series.
    pub selector: VectorSelector,
    /// How long the window is.
    pub range: DurationExpr,
}

/// An expression evaluated at many times within a window.
#[derive(Clone, Debug, PartialEq)]
pub struct SubqueryExpr {
    /// What is evaluated.
    pub expr: Expr,
    /// How long the window is.
    pub range: DurationExpr,
    /// The distance of the evaluations; `None` for the engine's default.
    pub step: Option<DurationExpr>,
    /// How far back in time to look.
    pub offset: Option<DurationExpr>,
    /// The fixed time to look at.
    pub at: Option<AtModifier>,
}

/// `@ …`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    /// `@ 1600000000.5`, in milliseconds since the epoch.
    Timestamp(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// How a window treats its edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeExtension {
    /// The edges take the value of the sample before them.
    Anchored,
    /// The edges are interpolated between their neighbours.
    Smoothed,
}

/// A length of time: a literal, or arithmetic that is evaluated once per query.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
}

/// The sorts of lengths of time.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// `5m`, `300`; in milliseconds, negative only in offsets.
    Millis(i64),
    /// `step()`: the query's resolution.
    Step,
    /// `range()`: from the query's start to its end.
    Range,
    /// `-d`
    Negate(Box<DurationExpr>),
    /// `a + b`, `a * 2` and their like.
    Arithmetic(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `min(a, b)`
    Min(Box<DurationExpr>, Box<DurationExpr>),
    /// `max(a, b)`
    Max(Box<DurationExpr>, Box<DurationExpr>),
}
