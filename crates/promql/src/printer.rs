//! A syntax tree as text, in one line, as Prometheus prints it.

use std::fmt::{self, Display, Write as _};

use model::METRIC_NAME;

use crate::ast::{
    AtModifier, BinaryExpr, BinaryOp, DurationExpr, DurationKind, Expr, ExprKind, MatchCardinality,
    RangeExtension, UnaryOp, VectorSelector,
};

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(value) => write_number(f, *value),
            ExprKind::String(text) => write_quoted(f, text),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Unary(UnaryOp::Plus, inner) => write!(f, "+{inner}"),
            ExprKind::Unary(UnaryOp::Minus, inner) => write!(f, "-{inner}"),
            ExprKind::Binary(binary) => write_binary(f, binary),
            ExprKind::Aggregate(aggregate) => {
                f.write_str(aggregate.op.as_str())?;
                if aggregate.without || !aggregate.labels.is_empty() {
                    let word = if aggregate.without { "without" } else { "by" };
                    write!(f, " {word} (")?;
                    write_labels(f, &aggregate.labels)?;
                    f.write_str(") ")?;
                }
                f.write_str("(")?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (index, arg) in call.args.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{arg}")?;
                }
                f.write_str(")")
            }
            ExprKind::Vector(selector) => {
                write_selector(f, selector)?;
                write_modifiers(f, selector)
            }
            ExprKind::Matrix(matrix) => {
                write_selector(f, &matrix.selector)?;
                write!(f, "[{}]", matrix.range)?;
                write_modifiers(f, &matrix.selector)
            }
            ExprKind::Subquery(subquery) => {
                write!(f, "{}[{}:", subquery.expr, subquery.range)?;
                if let Some(step) = &subquery.step {
                    write!(f, "{step}")?;
                }
                f.write_str("]")?;
                write_at(f, subquery.at)?;
                write_offset(f, subquery.offset.as_ref())
            }
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Millis(millis) => write_duration(f, *millis),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Negate(inner) => write!(f, "-({inner})"),
            DurationKind::Min(left, right) => write!(f, "min({left}, {right})"),
            DurationKind::Max(left, right) => write!(f, "max({left}, {right})"),
            DurationKind::Arithmetic(op, left, right) => {
                // In parentheses on both sides, so that no precedence has to be remembered.
                for (index, side) in [left, right].into_iter().enumerate() {
                    if index == 1 {
                        write!(f, " {} ", op.as_str())?;
                    }
                    let grouped = match side.kind {
                        DurationKind::Arithmetic(..) => true,
                        // A power binds tighter than the sign before it.
                        DurationKind::Negate(_) => index == 0,
                        DurationKind::Millis(millis) => index == 0 && millis < 0,
                        _ => false,
                    };
                    if grouped {
                        write!(f, "({side})")?;
                    } else {
                        write!(f, "{side}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_nan() {
        f.write_str("NaN")
    } else if value.is_infinite() {
        f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(f, "{value}")
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
            _ => f.write_char(character)?,
        }
    }
    f.write_str("\"")
}

fn is_plain(name: &str, colons: bool) -> bool {
    let accepted =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colons && byte == b':');
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(accepted)
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if is_plain(name, false) { f.write_str(name) } else { write_quoted(f, name) }
}

fn write_labels(f: &mut fmt::Formatter<'_>, labels: &[String]) -> fmt::Result {
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_name(f, label)?;
    }
    Ok(())
}

fn write_binary(f: &mut fmt::Formatter<'_>, binary: &BinaryExpr) -> fmt::Result {
    let BinaryExpr { op, left, right, return_bool, matching, .. } = binary;
    match left.kind {
        // A sign binds less than the power: `+Inf ^ 2` is the sign of a power.
        ExprKind::Number(f64::INFINITY) if *op == BinaryOp::Pow => f.write_str("Inf")?,
        _ => write!(f, "{left}")?,
    }
    write!(f, " {}", op.as_str())?;
    if *return_bool {
        f.write_str(" bool")?;
    }
    if let Some(matching) = matching {
        let group = match matching.cardinality {
            MatchCardinality::ManyToOne => Some("group_left"),
            MatchCardinality::OneToMany => Some("group_right"),
            MatchCardinality::OneToOne | MatchCardinality::ManyToMany => None,
        };
        if matching.on || !matching.labels.is_empty() || group.is_some() {
            f.write_str(if matching.on { " on (" } else { " ignoring (" })?;
            write_labels(f, &matching.labels)?;
            f.write_str(")")?;
        }
        if let Some(group) = group {
            write!(f, " {group} (")?;
            write_labels(f, &matching.include)?;
            f.write_str(")")?;
        }
        for (word, value) in
            [("fill_left", matching.fill_left), ("fill_right", matching.fill_right)]
        {
            if let Some(value) = value {
                write!(f, " {word} (")?;
                write_number(f, value)?;
                f.write_str(")")?;
            }
        }
    }
    write!(f, " {right}")
}

fn write_selector(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let name = selector.name.as_deref();
    let plain = name.filter(|name| is_plain(name, true));
    if let Some(plain) = plain {
        f.write_str(plain)?;
    }
    let others: Vec<_> = selector
        .matchers
        .iter()
        .filter(|matcher| name.is_none() || matcher.name() != METRIC_NAME)
        .collect();
    if plain.is_some() && others.is_empty() {
        return Ok(());
    }
    f.write_str("{")?;
    let mut separator = "";
    if let (Some(name), None) = (name, plain) {
        write_quoted(f, name)?;
        separator = ",";
    }
    for matcher in others {
        f.write_str(separator)?;
        write_name(f, matcher.name())?;
        f.write_str(matcher.op().as_str())?;
        write_quoted(f, matcher.value())?;
        separator = ",";
    }
    f.write_str("}")
}

fn write_modifiers(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    match selector.extension {
        Some(RangeExtension::Anchored) => f.write_str(" anchored")?,
        Some(RangeExtension::Smoothed) => f.write_str(" smoothed")?,
        None => {}
    }
    write_at(f, selector.at)?;
    write_offset(f, selector.offset.as_ref())
}

fn write_at(f: &mut fmt::Formatter<'_>, at: Option<AtModifier>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(AtModifier::Start) => f.write_str(" @ start()"),
        Some(AtModifier::End) => f.write_str(" @ end()"),
        Some(AtModifier::Timestamp(millis)) => {
            let sign = if millis < 0 { "-" } else { "" };
            let millis = millis.unsigned_abs();
            write!(f, " @ {sign}{}.{:03}", millis / 1000, millis % 1000)
        }
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: Option<&DurationExpr>) -> fmt::Result {
    match offset {
        None => Ok(()),
        Some(offset)
            if matches!(offset.kind, DurationKind::Arithmetic(..) | DurationKind::Negate(_)) =>
        {
            write!(f, " offset ({offset})")
        }
        Some(offset) => write!(f, " offset {offset}"),
    }
}

fn write_duration(f: &mut fmt::Formatter<'_>, millis: i64) -> fmt::Result {
    if millis == 0 {
        return f.write_str("0s");
    }
    if millis < 0 {
        f.write_str("-")?;
    }
    let mut rest = millis.unsigned_abs();
    // Days, weeks and years only where nothing smaller is left, as Prometheus prints them.
    for (unit, length, only_exact) in [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ] {
        let count = rest / length;
        if count > 0 && (!only_exact || rest.is_multiple_of(length)) {
            write!(f, "{count}{unit}")?;
            rest %= length;
        }
    }
    Ok(())
}
