//! What is known about a metric name beside its samples.

/// The type that a metric was declared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Only grows, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets.
    Histogram,
    /// Buckets that go up and down.
    GaugeHistogram,
    /// Quantiles computed by the client.
    Summary,
    /// Constant 1 with informative labels.
    Info,
    /// One of a set of states.
    StateSet,
    /// Not declared.
    #[default]
    Unknown,
}

impl MetricType {
    /// Returns the name as in OpenMetrics: `counter`, `gaugehistogram`, ….
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the type with this OpenMetrics name; `untyped` is [`MetricType::Unknown`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }
}

/// Type, help and unit of a metric name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetricMetadata {
    /// The declared type.
    pub metric_type: MetricType,
    /// One line for people; may be empty.
    pub help: String,
    /// The unit's name; may be empty.
    pub unit: String,
}
