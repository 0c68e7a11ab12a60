//! The text formats in which metrics are exposed: Prometheus 0.0.4 and OpenMetrics 1.0.
//!
//! One parser for both, line by line, borrowing from the text. Blanks are tolerated where Prometheus tolerates them
//! in its own format; an unknown escape stands for itself, as there.

#![warn(clippy::indexing_slicing)]

mod scan;

use std::borrow::Cow;

use model::{LabelError, Labels, METRIC_NAME, MetricType, Timestamp};
use smallvec::SmallVec;

use crate::text::scan::{Cursor, LabelPart};

/// Which of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// Prometheus 0.0.4; timestamps in milliseconds.
    Prometheus,
    /// OpenMetrics 1.0; timestamps in seconds, exemplars, and the last line is `# EOF`.
    OpenMetrics,
}

impl ExpositionFormat {
    /// Returns the format that a value of the header `Content-Type` names; anything unknown is Prometheus' own.
    #[must_use]
    pub fn from_content_type(value: &str) -> Self {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

/// One line that says something.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A help text, escapes undone.
    Help {
        /// Of which metric family.
        metric: Cow<'a, str>,
        /// The text.
        help: Cow<'a, str>,
    },
    /// A type.
    Type {
        /// Of which metric family.
        metric: Cow<'a, str>,
        /// The type.
        metric_type: MetricType,
    },
    /// A unit; only in OpenMetrics.
    Unit {
        /// Of which metric family.
        metric: Cow<'a, str>,
        /// The unit.
        unit: &'a str,
    },
    /// A sample.
    Sample(TextSample<'a>),
}

/// A sample as it lies in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextSample<'a> {
    /// Name and labels, checked but not decoded.
    pub series: TextSeries<'a>,
    /// The value. Never the staleness marker: a NaN in the text is the usual one.
    pub value: f64,
    /// The time, when the line has one.
    pub timestamp: Option<Timestamp>,
    /// Whether the line has an exemplar; it is checked and not kept.
    pub has_exemplar: bool,
}

/// The name and labels of a series as they lie in the text.
///
/// Equal texts mean equal labels; different texts may mean equal labels too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextSeries<'a>(&'a str);

impl<'a> TextSeries<'a> {
    /// Returns the text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns the labels, the metric's name among them. Decode once per series, not once per sample.
    ///
    /// # Errors
    ///
    /// A label occurs twice.
    pub fn labels(self) -> Result<Labels, LabelError> {
        let mut pairs: SmallVec<[(Cow<'a, str>, Cow<'a, str>); 16]> = SmallVec::new();
        let visit = |part: LabelPart<'a>| match part {
            LabelPart::Metric(metric) => pairs.push((METRIC_NAME.into(), metric.unescape())),
            LabelPart::Label(name, value) => pairs.push((name.unescape(), value.unescape())),
        };
        let checked = Cursor::new(self.0).series(visit);
        debug_assert!(checked.is_ok(), "a series is checked when its line is read");
        Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
    }
}

/// Where and why a text is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: expected {expected}")]
pub struct ExpositionError {
    /// The line, counted from 1.
    pub line: usize,
    /// The byte within the line, counted from 1.
    pub column: usize,
    /// What should be there.
    pub expected: &'static str,
}

/// Iterates over the lines that say something. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Exposition<'a> {
    cursor: Cursor<'a>,
    format: ExpositionFormat,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Lines,
    /// The line `# EOF` was read.
    Ended,
    /// An error or the end was returned.
    Done,
}

/// Returns an iterator over what `body` exposes. Allocates nothing for a sample.
#[must_use]
pub const fn parse_exposition(body: &str, format: ExpositionFormat) -> Exposition<'_> {
    Exposition { cursor: Cursor::new(body), format, state: State::Lines }
}

impl<'a> Iterator for Exposition<'a> {
    type Item = Result<Entry<'a>, ExpositionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Done {
            return None;
        }
        let entry = self.next_entry().transpose();
        if !matches!(entry, Some(Ok(_))) {
            self.state = State::Done;
        }
        entry
    }
}

impl<'a> Exposition<'a> {
    fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ExpositionError> {
        loop {
            self.cursor.skip_blanks();
            match self.cursor.peek() {
                None => return self.end(),
                Some(_) if self.state == State::Ended => {
                    return Err(self.cursor.expected("nothing after '# EOF'"));
                }
                Some(b'\n') => self.cursor.line_end()?,
                Some(b'#') => {
                    if let Some(entry) = self.comment()? {
                        return Ok(Some(entry));
                    }
                }
                Some(_) => return self.sample().map(|sample| Some(Entry::Sample(sample))),
            }
        }
    }

    fn end(&self) -> Result<Option<Entry<'a>>, ExpositionError> {
        if self.format == ExpositionFormat::OpenMetrics && self.state != State::Ended {
            return Err(self.cursor.expected("the line '# EOF' at the end"));
        }
        Ok(None)
    }

    fn comment(&mut self) -> Result<Option<Entry<'a>>, ExpositionError> {
        let open_metrics = self.format == ExpositionFormat::OpenMetrics;
        let cursor = &mut self.cursor;
        cursor.bump();
        let keyword = if cursor.skip_blanks() { cursor.word() } else { "" };
        if keyword == "EOF" && open_metrics {
            self.state = State::Ended;
            return cursor.line_end().map(|()| None);
        }
        let known = matches!(keyword, "HELP" | "TYPE") || keyword == "UNIT" && open_metrics;
        if !known || !cursor.skip_blanks() {
            cursor.rest_of_line();
            return cursor.line_end().map(|()| None);
        }
        let metric = cursor.metric_name()?.unescape();
        let blank = cursor.skip_blanks();
        let entry = match keyword {
            "HELP" => Entry::Help { metric, help: cursor.help(open_metrics) },
            "TYPE" => {
                let at = cursor.clone();
                let metric_type = MetricType::from_name(cursor.word()).filter(|_| blank);
                let metric_type = metric_type.ok_or_else(|| at.expected("a metric type"))?;
                Entry::Type { metric, metric_type }
            }
            _ => {
                let at = cursor.clone();
                let unit = cursor.word();
                let stem = metric.strip_suffix(unit).filter(|_| !unit.is_empty());
                if !unit.is_empty() && !stem.is_some_and(|stem| stem.ends_with('_')) {
                    return Err(at.expected("a unit that the metric's name ends with"));
                }
                Entry::Unit { metric, unit }
            }
        };
        cursor.line_end()?;
        Ok(Some(entry))
    }

    fn sample(&mut self) -> Result<TextSample<'a>, ExpositionError> {
        let open_metrics = self.format == ExpositionFormat::OpenMetrics;
        let cursor = &mut self.cursor;
        let series = TextSeries(cursor.series(|_| ())?);
        let blank = cursor.skip_blanks();
        if !blank && !series.0.ends_with('}') {
            return Err(cursor.expected("a blank, or '{'"));
        }
        let value = cursor.value()?;
        let timestamp = cursor.timestamp(open_metrics)?;
        let has_exemplar = open_metrics && cursor.exemplar()?;
        cursor.line_end()?;
        Ok(TextSample { series, value, timestamp, has_exemplar })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    use ExpositionFormat::{OpenMetrics, Prometheus};

    /// Writes what was read, one entry a line, up to the first error.
    fn render(body: &str, format: ExpositionFormat) -> String {
        let mut text = String::new();
        for entry in parse_exposition(body, format) {
            let written = match entry {
                Ok(Entry::Help { metric, help }) => writeln!(text, "help {metric} {help:?}"),
                Ok(Entry::Type { metric, metric_type }) => {
                    writeln!(text, "type {metric} {}", metric_type.as_str())
                }
                Ok(Entry::Unit { metric, unit }) => writeln!(text, "unit {metric} {unit}"),
                Ok(Entry::Sample(sample)) => {
                    let labels = match sample.series.labels() {
                        Ok(labels) => labels.to_string(),
                        Err(error) => error.to_string(),
                    };
                    let at = sample.timestamp.map(|at| format!(" @{}", at.as_millis()));
                    let exemplar = if sample.has_exemplar { " exemplar" } else { "" };
                    let at = at.unwrap_or_default();
                    writeln!(text, "{labels} {:?}{at}{exemplar}", sample.value)
                }
                Err(error) => writeln!(text, "{error}"),
            };
            written.expect("memory");
        }
        text
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(render(body, Prometheus).trim_end(), expected, "{body:?}");
    }

    #[track_caller]
    fn check_open_metrics(body: &str, expected: &str) {
        let text = render(&format!("{body}\n# EOF\n"), OpenMetrics);
        assert_eq!(text.trim_end(), expected, "{body:?}");
    }

    #[test]
    fn an_exposition_is_read_line_by_line() {
        let body = "# HELP go_goroutines Number of goroutines.\n\
                    # TYPE go_goroutines gauge\n\
                    go_goroutines 33\n\
                    \n\
                    # a comment\n\
                    #TYPE is only a comment here\n\
                    # TYPE http_requests_total counter\n\
                    http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n";
        let expected = "help go_goroutines \"Number of goroutines.\"\n\
                        type go_goroutines gauge\n\
                        {__name__=\"go_goroutines\"} 33.0\n\
                        type http_requests_total counter\n\
                        {__name__=\"http_requests_total\", code=\"200\", method=\"post\"} 1027.0 \
                        @1395066363000";
        check(body, expected);
        check("", "");
        check("a 1", "{__name__=\"a\"} 1.0");
    }

    #[test]
    fn blanks_and_a_trailing_comma_are_tolerated() {
        let expected = "{__name__=\"a\", b=\"c\"} 1.0 @2";
        check(" \ta \t{ b = \"c\" , } \t 1 \t2 \t\n", expected);
        check("a{b=\"c\"}1 2", expected);
        check("a{} 1", "{__name__=\"a\"} 1.0");
        check("\n\n \n", "");
    }

    #[test]
    fn escapes_are_undone_and_unknown_ones_kept() {
        check(r#"a{b="\\ \" \n \t é"} 1"#, r#"{__name__="a", b="\\ \" \n \\t é"} 1.0"#);
        check(r#"a{b="\\"} 1"#, r#"{__name__="a", b="\\"} 1.0"#);
        check(r"# HELP a \\ \n \x", r#"help a "\\ \n \\x""#);
        check(r#"# HELP a \""#, r#"help a "\\\"""#);
        check_open_metrics(r#"# HELP a \""#, r#"help a "\"""#);
        check("# HELP a", "help a \"\"");
    }

    #[test]
    fn names_may_be_quoted() {
        let expected = "{__name__=\"my.metric\", \"a b\"=\"c\"} 1.0";
        check("{\"my.metric\",\"a b\"=\"c\"} 1", expected);
        check("{\"a b\"=\"c\", \"my.metric\"} 1", expected);
        check("{\"my.metric\"} 1", "{__name__=\"my.metric\"} 1.0");
        check("# TYPE \"my.metric\" gauge", "type my.metric gauge");
        let twice = "line 1, column 3: expected a label, as the metric has a name already";
        check("a{\"my.metric\"} 1", twice);
        check("{\"\"} 1", "line 1, column 2: expected a name that is not empty");
    }

    #[test]
    fn numbers_are_those_of_go() {
        for (text, expected) in [
            ("1", "1.0"),
            ("-1.5e-3", "-0.0015"),
            ("1e308", "1e308"),
            (".5", "0.5"),
            ("+Inf", "inf"),
            ("-inf", "-inf"),
            ("Infinity", "inf"),
            ("NaN", "NaN"),
            ("nan", "NaN"),
        ] {
            check(&format!("a {text}"), &format!("{{__name__=\"a\"}} {expected}"));
        }
        for text in ["1_000", "0x1p4", "1e", "--1", "1,5", ""] {
            check(&format!("a {text}"), "line 1, column 3: expected a number");
        }
        check("a 1e999", "line 1, column 3: expected a number that fits into 64 bits");
    }

    #[test]
    fn errors_say_what_was_expected() {
        check("\na{b} 1", "line 2, column 4: expected '='");
        check("a{b=c} 1", "line 1, column 5: expected '\"'");
        check("a{b=\"c} 1\n\"", "line 1, column 10: expected '\"' before the end of the line");
        check("a{b=\"c\" d=\"e\"} 1", "line 1, column 9: expected ',' or '}'");
        check("a{,} 1", "line 1, column 3: expected a label name, or '}'");
        check("a{1b=\"c\"} 1", "line 1, column 3: expected a label name, or '}'");
        check("a{b=\"c\"", "line 1, column 8: expected ',' or '}'");
        check("a-b 1", "line 1, column 2: expected a blank, or '{'");
        check("{b=\"c\"} 1", "line 1, column 1: expected a metric name");
        check("1a 1", "line 1, column 1: expected a metric name, or '{'");
        check("a 1 x", "line 1, column 5: expected a timestamp in milliseconds");
        check("a 1 1.5", "line 1, column 5: expected a timestamp in milliseconds");
        check("a 1 2 3", "line 1, column 7: expected the end of the line");
        check("a 1 # {b=\"c\"} 1", "line 1, column 5: expected the end of the line");
        check("# TYPE a thing", "line 1, column 10: expected a metric type");
        check("# TYPE a", "line 1, column 9: expected a metric type");
        check("# HELP  ", "line 1, column 9: expected a metric name");
        let twice = "label 'b' occurs twice 1.0\n{__name__=\"a\"} 2.0";
        check("a{b=\"c\",b=\"c\"} 1\na 2", twice);
    }

    #[test]
    fn open_metrics_has_units_seconds_and_exemplars() {
        let body = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds text\n\
                    a_seconds_total{b=\"c\"} 1 1520879607.789 # {trace_id=\"x\"} 0.5 1520879607.7\n\
                    a_seconds_created{b=\"c\"} 1520430000.123\n\
                    a_bucket{le=\"+Inf\"} 5 # {} 4\n\
                    # TYPE b unknown\n\
                    b 1 -1.0005";
        let expected = "type a_seconds counter\nunit a_seconds seconds\nhelp a_seconds \"text\"\n\
                        {__name__=\"a_seconds_total\", b=\"c\"} 1.0 @1520879607789 exemplar\n\
                        {__name__=\"a_seconds_created\", b=\"c\"} 1520430000.123\n\
                        {__name__=\"a_bucket\", le=\"+Inf\"} 5.0 exemplar\n\
                        type b unknown\n\
                        {__name__=\"b\"} 1.0 @-1001";
        check_open_metrics(body, expected);
        check("# UNIT a_seconds seconds\na 1", "{__name__=\"a\"} 1.0");
    }

    #[test]
    fn open_metrics_errors_say_what_was_expected() {
        let unit = "line 1, column 10: expected a unit that the metric's name ends with";
        check_open_metrics("# UNIT a seconds", unit);
        let timestamp = "line 1, column 5: expected a timestamp in seconds";
        check_open_metrics("a 1 NaN", timestamp);
        check_open_metrics("a 1 1e300", timestamp);
        check_open_metrics("a 1 # 5", "line 1, column 7: expected the labels of an exemplar");
        check_open_metrics("a 1 # {b=\"c\"}", "line 1, column 14: expected a number");
        let rest = render("a 1\n# EOF\nb 1\n", OpenMetrics);
        let expected = "{__name__=\"a\"} 1.0\nline 3, column 1: expected nothing after '# EOF'\n";
        assert_eq!(rest, expected);
        let cut = render("a 1\n", OpenMetrics);
        let expected =
            "{__name__=\"a\"} 1.0\nline 2, column 1: expected the line '# EOF' at the end\n";
        assert_eq!(cut, expected);
        assert_eq!(render("# EOF", OpenMetrics), "");
        assert_eq!(render("# EOF", Prometheus), "");
    }

    #[test]
    fn the_content_type_names_the_format() {
        for (value, expected) in [
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("text/plain; version=0.0.4", Prometheus),
            ("", Prometheus),
        ] {
            assert_eq!(ExpositionFormat::from_content_type(value), expected);
        }
    }

    fn escape(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[a-c{}\"=, \\\\\n#0-9.é\t]{0,60}") {
            for format in [Prometheus, OpenMetrics] {
                for entry in parse_exposition(&text, format).flatten() {
                    if let Entry::Sample(sample) = entry {
                        drop(sample.series.labels());
                    }
                }
            }
        }

        #[test]
        fn any_character_never_panics(text in "\\PC{0,60}") {
            for format in [Prometheus, OpenMetrics] {
                prop_assert!(parse_exposition(&text, format).count() <= text.len() + 1);
            }
        }

        #[test]
        fn what_is_written_is_read(
            pairs in proptest::collection::btree_map(".{1,9}", ".{1,9}", 0..5),
            metric in ".{1,9}",
            bits in any::<u64>(),
            millis in any::<i64>(),
        ) {
            let value = f64::from_bits(bits);
            let labels: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("\"{}\"=\"{}\"", escape(name), escape(value)))
                .collect();
            let body = format!("{{\"{}\", {}}} {value:e} {millis}\n", escape(&metric), labels.join(","));
            let entries: Vec<_> = parse_exposition(&body, Prometheus).collect();
            let [Ok(Entry::Sample(sample))] = entries.as_slice() else {
                panic!("{entries:?} from {body:?}");
            };
            let name = (METRIC_NAME, metric.as_str());
            let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            prop_assert_eq!(sample.series.labels(), Labels::from_pairs(pairs.chain([name])));
            prop_assert!(sample.value == value || value.is_nan() && sample.value.is_nan());
            prop_assert_eq!(sample.timestamp, Some(Timestamp::from_millis(millis)));
        }
    }
}
