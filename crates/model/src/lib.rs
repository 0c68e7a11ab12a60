//! Labels, samples, series, and the few traits where domains meet.
//!
//! No I/O and no wire format: types here can change without breaking a client or a file.

mod batch;
mod duration;
mod labels;
mod matcher;
mod metadata;
mod sample;
mod sink;
mod source;
mod tenant;

pub use batch::{LabelEncoding, SeriesKey, WriteBatch, WriteSeries};
pub use duration::parse_duration_ms;
pub use labels::{LabelError, Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{AnchoredRegex, MatchOp, Matcher, RegexError};
pub use metadata::{MetricMetadata, MetricType};
pub use platform::Timestamp;
pub use sample::{STALE_NAN_BITS, Sample, SampleColumns, TimeRange, is_stale, stale_nan};
pub use sink::{
    AppendError, AppendMode, AppendReceipt, CommitSequence, Durable, RejectReason, Rejection,
    Rejections, SampleSink, SeriesLimitScope,
};
pub use source::{Cancellation, Series, SeriesSource, SourceError};
pub use tenant::{TenantId, TenantIdError};
