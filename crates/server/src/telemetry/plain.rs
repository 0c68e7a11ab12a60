//! The format that every scraper understands, made from OpenMetrics.

/// Returns a page of OpenMetrics 1.0, as our registry writes it, in Prometheus' text format 0.0.4.
///
/// There a counter's family is called as its series, units are not said, and the end is not marked.
pub(super) fn from_open_metrics(page: &str) -> String {
    let mut plain = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, metric_type) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if metric_type == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                push_line(&mut plain, &["# HELP ", name, suffix, " ", text]);
            }
            push_line(&mut plain, &["# TYPE ", name, suffix, " ", metric_type]);
        } else if !line.starts_with('#') {
            push_line(&mut plain, &[line]);
        }
    }
    plain
}

fn push_line(page: &mut String, parts: &[&str]) {
    page.extend(parts.iter().copied());
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_as_their_series() {
        let page = "# HELP a_b What it is.\n# TYPE a_b counter\na_b_total{c=\"d e\"} 1\n\
                    # HELP e_seconds How long.\n# TYPE e_seconds gauge\n# UNIT e_seconds seconds\n\
                    e_seconds 2\n# EOF\n";
        let expected = "# HELP a_b_total What it is.\n# TYPE a_b_total counter\n\
                        a_b_total{c=\"d e\"} 1\n# HELP e_seconds How long.\n\
                        # TYPE e_seconds gauge\ne_seconds 2\n";
        assert_eq!(from_open_metrics(page), expected);
    }
}
