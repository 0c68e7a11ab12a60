//! Queries in, trees or errors out.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Parses `query` and compares its printed form; the printed form must parse to the same text again.
fn check(query: &str, printed: &str) {
    let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    assert_eq!(expr.to_string(), printed, "{query}");
    let again = parse(printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(again.to_string(), printed, "{query}");
}

fn check_error(query: &str, expected: &str) {
    let error = parse(query).expect_err(query);
    assert_eq!(error.to_string(), expected, "{query}");
}

#[test]
fn expressions_are_printed_in_canonical_form() {
    for (query, printed) in [
        ("1", "1"),
        ("+Inf", "+Inf"),
        ("-1", "-1"),
        ("-Inf ^ 2", "-Inf ^ 2"),
        ("0x1f", "31"),
        ("5m", "300"),
        ("\"a\\n\"", "\"a\\n\""),
        ("foo", "foo"),
        ("foo{}", "foo"),
        ("foo{a=\"b\",c!~'d',}", "foo{a=\"b\",c!~\"d\"}"),
        ("{\"foo bar\",\"a b\"=\"c\"}", "{\"foo bar\",\"a b\"=\"c\"}"),
        ("{__name__=~\"a.+\"}", "{__name__=~\"a.+\"}"),
        ("foo[5m]", "foo[5m]"),
        ("foo[300]", "foo[5m]"),
        ("foo[1h30m] offset 1w @ 1.5", "foo[1h30m] @ 1.500 offset 1w"),
        ("foo offset -5m", "foo offset -5m"),
        ("foo @ start() offset 1m", "foo @ start() offset 1m"),
        ("foo[5m:]", "foo[5m:]"),
        ("foo[5m:1m] @ end()", "foo[5m:1m] @ end()"),
        ("foo[5m*2+step()]", "foo[(5m * 2s) + step()]"),
        ("foo offset (5m-1m)", "foo offset (5m - 1m)"),
        ("foo offset (-2^2)", "foo offset (-(2s ^ 2s))"),
        ("foo offset -(2)", "foo offset -2s"),
        ("foo[2^-1]", "foo[2s ^ -1s]"),
        ("foo[-5m*-2]", "foo[(-5m) * -2s]"),
        ("foo[(-2)^2]", "foo[(-2s) ^ 2s]"),
        ("foo[min(5m,range())] smoothed", "foo[min(5m, range())] smoothed"),
        ("SUM(foo) BY (a,b)", "sum by (a, b) (foo)"),
        ("sum without () (foo)", "sum without () (foo)"),
        ("topk(5, foo)", "topk(5, foo)"),
        ("count_values(\"x\", foo)", "count_values(\"x\", foo)"),
        ("a+b*c^d^e", "a + b * c ^ d ^ e"),
        ("-a^b", "-a ^ b"),
        ("a == bool on(x,) group_left(y) b", "a == bool on (x) group_left (y) b"),
        ("a and ignoring(x) b or c unless d", "a and ignoring (x) b or c unless d"),
        ("a + fill(0) b", "a + fill_left (0) fill_right (0) b"),
        ("a </ b >/ c", "a </ b >/ c"),
        ("rate(foo[5m]) # comment", "rate(foo[5m])"),
        ("time()", "time()"),
        ("label_join(a, \"b\", \"c\", \"d\", \"e\")", "label_join(a, \"b\", \"c\", \"d\", \"e\")"),
        ("info(a, {data=~\".*\"})", "info(a, {data=~\".*\"})"),
        ("sum", "sum"),
        ("offset", "offset"),
        ("by{on=\"x\"}", "by{on=\"x\"}"),
        ("start + end", "start + end"),
        ("a:b:c", "a:b:c"),
        ("sum(a) by (by, on)", "sum by (by, on) (a)"),
    ] {
        check(query, printed);
    }
}

#[test]
fn precedence_and_associativity_are_prometheus_own() {
    let shape = |query: &str| {
        fn show(expr: &Expr) -> String {
            match &expr.kind {
                ExprKind::Binary(binary) => {
                    format!(
                        "({} {} {})",
                        show(&binary.left),
                        binary.op.as_str(),
                        show(&binary.right)
                    )
                }
                ExprKind::Unary(_, inner) => format!("(-{})", show(inner)),
                _ => expr.to_string(),
            }
        }
        show(&parse(query).expect("valid"))
    };
    for (query, expected) in [
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "(-(a ^ b))"),
        ("-a * b", "((-a) * b)"),
        ("a ^ -b", "(a ^ (-b))"),
        ("a + b == c * d", "((a + b) == (c * d))"),
        ("a or b and c", "(a or (b and c))"),
        ("a and b unless c", "((a and b) unless c)"),
        ("a % b atan2 c", "((a % b) atan2 c)"),
        ("2 ^ 3 * 2", "((2 ^ 3) * 2)"),
    ] {
        assert_eq!(shape(query), expected, "{query}");
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (query, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("foo bar", "1:5: parse error: unexpected identifier \"bar\""),
        ("foo +", "1:6: parse error: unexpected end of input"),
        ("1 +\n  )", "2:3: parse error: unexpected right parenthesis ')'"),
        (
            "foo{a}",
            "1:6: parse error: unexpected \"}\" in label matching, expected label matching operator",
        ),
        (
            "foo{a=b}",
            "1:7: parse error: unexpected identifier \"b\" in label matching, expected string",
        ),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (
            "{a=\"\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "{a=~\".*\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "foo{__name__=\"bar\"}",
            "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\"",
        ),
        (
            "{\"x\", __name__=\"y\"}",
            "1:1: parse error: metric name must not be set twice: \"x\" or \"y\"",
        ),
        ("foo[300y]", "1:5: parse error: duration out of range"),
        ("foo[1e300]", "1:5: parse error: duration out of range"),
        ("foo{a=~\"(\"}", "1:5: parse error: regular expression '(': unclosed group"),
        ("nope(foo)", "1:1: parse error: unknown function with name \"nope\""),
        (
            "rate(foo)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("rate()", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 0"),
        (
            "round(foo, 1, 2)",
            "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
        ),
        (
            "label_join(foo)",
            "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1",
        ),
        (
            "topk(foo)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "sum(1)",
            "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
        ),
        ("1 == 1", "1:1: parse error: comparisons between scalars must use BOOL modifier"),
        (
            "1 and 2",
            "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
        ),
        ("a + bool b", "1:5: parse error: bool modifier can only be used on comparison operators"),
        (
            "a and on(x) group_left b",
            "1:13: parse error: no grouping allowed for \"and\" operation",
        ),
        (
            "a * on(x) group_left(x) b",
            "1:11: parse error: label \"x\" must not occur in ON and GROUP clause at once",
        ),
        ("1 + on(x) 2", "1:1: parse error: vector matching only allowed between instant vectors"),
        (
            "a[5m] + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "-\"a\"",
            "1:2: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        ("foo[0m]", "1:5: parse error: duration must be greater than 0"),
        ("foo[-5m]", "1:5: parse error: duration must be greater than 0"),
        (
            "foo[]",
            "1:5: parse error: unexpected \"]\" in duration expression, expected number, duration, step(), or range()",
        ),
        ("(foo)[5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("foo offset 1m [5m]", "1:15: parse error: no offset modifiers allowed before range"),
        ("foo offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("foo @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        (
            "1[5m:1m]",
            "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
        ),
        ("5x", "1:1: parse error: bad number or duration syntax: \"5x\""),
        ("\"open", "1:1: parse error: unterminated quoted string"),
        ("foo $ bar", "1:5: parse error: unexpected character: '$'"),
        ("a ! b", "1:3: parse error: unexpected character after '!': ' '"),
        ("sum(a,)", "1:7: parse error: trailing commas not allowed in function call args"),
        ("é", "1:1: parse error: unexpected character: 'é'"),
    ] {
        check_error(query, expected);
    }
}

#[test]
fn nesting_and_length_are_bounded_in_every_direction() {
    let deep = DEPTH_MAX * 50;
    for query in [
        format!("{}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("{}1", "-".repeat(deep)),
        format!("1{}", " + 1".repeat(deep)),
        format!("a{}", " ^ a".repeat(deep)),
        format!("a{}", "[1m:]".repeat(deep)),
        format!("a[{}1m{}]", "(".repeat(deep), ")".repeat(deep)),
        format!("a[1m{}]", "+1m".repeat(deep)),
        format!("a[{}1m]", "-".repeat(deep)),
        format!("{}a{}", "abs(".repeat(deep), ")".repeat(deep)),
    ] {
        assert!(parse(&query).is_err(), "{}…", &query[..20]);
    }
    let long = format!("a{}", " ".repeat(QUERY_BYTES_MAX));
    assert!(parse(&long).expect_err("too long").message.contains("the limit is"));
    let allowed = DEPTH_MAX - 1;
    assert!(parse(&format!("{}1{}", "(".repeat(allowed), ")".repeat(allowed))).is_ok());
}

#[test]
fn a_selector_alone_gives_its_matchers() {
    assert_eq!(parse_selector("up{job=\"a\"}").expect("a selector").len(), 2);
    assert!(parse_selector("rate(up[5m])").is_err());
    assert!(parse_selector("up offset 5m").is_err());
}

/// Returns the queries of Prometheus' scripts that are expected to succeed.
#[expect(clippy::disallowed_methods, reason = "reads the scripts beside the checkout")]
fn conformance_queries() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/promql");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: ../shared/conformance/promql is absent");
        return Vec::new();
    };
    let mut queries = Vec::new();
    for entry in entries {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a script");
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let skip = match (words.first(), words.get(1)) {
                (Some(&"eval"), Some(&"instant")) => 4,
                (Some(&"eval"), Some(&"range")) => 8,
                _ => continue,
            };
            let mut expectations =
                lines[index + 1..].iter().take_while(|line| line.starts_with([' ', '\t']));
            if expectations.any(|line| line.trim().starts_with("expect fail")) {
                continue;
            }
            queries.push(words[skip.min(words.len())..].join(" "));
        }
    }
    queries
}

#[test]
fn every_query_of_prometheus_scripts_is_read() {
    for query in conformance_queries() {
        let expr = parse(&query).unwrap_or_else(|error| panic!("{query}\n{error}"));
        let printed = expr.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{printed}\n{error}"));
        assert_eq!(again.to_string(), printed, "{query}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(query in ".{0,64}") {
        drop(parse(&query));
    }

    #[test]
    fn arbitrary_tokens_never_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "a", "sum", "rate", "by", "on", "(", ")", "[", "]", "{", "}", "5m", "1", "\"x\"", "=", "=~", ",",
                "+", "-", "^", "offset", "@", "start", ":", "bool", "and", "group_left", "anchored", "fill", "info",
            ]),
            0..24,
        )
    ) {
        if let Ok(expr) = parse(&words.join(" ")) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{}: {:?}", printed, again);
            prop_assert_eq!(again.expect("checked").to_string(), printed);
        }
    }
}
