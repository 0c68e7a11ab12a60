//! The functions of templates that the chart uses, as Go, Sprig and Helm have them.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::evaluate::{is_true, printed};

/// Calls a function.
///
/// # Errors
///
/// It is not one of ours, its arguments are not of its kind, or it is `fail` or `required`.
pub(super) fn call(name: &str, arguments: &[Value]) -> anyhow::Result<Value> {
    Ok(match (name, arguments) {
        ("quote", [value]) => Value::from(printed(value)?).to_string().into(),
        ("default", [default, value]) => pick(is_true(value), value, default),
        ("ternary", [yes, no, condition]) => pick(is_true(condition), yes, no),
        ("required", [Value::String(message), value]) => {
            ensure!(is_true(value), "{message}");
            value.clone()
        }
        ("fail", [Value::String(message)]) => bail!("{message}"),
        ("eq", [first, others @ ..]) => others.contains(first).into(),
        ("ne", [one, other]) => (one != other).into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("list", items) => items.to_vec().into(),
        ("dict", pairs) => dict(pairs)?,
        ("hasKey", [Value::Object(map), Value::String(key)]) => map.contains_key(key).into(),
        ("index", [Value::Object(map), Value::String(key)]) => {
            map.get(key).cloned().unwrap_or(Value::Null)
        }
        ("int", [Value::Number(number)]) => number.clone().into(),
        ("join", [Value::String(separator), Value::Array(items)]) => {
            let items: Vec<String> = items.iter().map(printed).collect::<anyhow::Result<_>>()?;
            items.join(separator).into()
        }
        ("printf", [Value::String(format), rest @ ..]) => printf(format, rest)?.into(),
        ("contains", [Value::String(part), Value::String(text)]) => {
            text.contains(part.as_str()).into()
        }
        ("trunc", [Value::Number(length), Value::String(text)]) => {
            let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
            text.get(..length.context("a length")?).unwrap_or(text).into()
        }
        ("trimSuffix", [Value::String(suffix), Value::String(text)]) => {
            text.strip_suffix(suffix.as_str()).unwrap_or(text).into()
        }
        ("dir", [Value::String(path)]) => {
            path.rsplit_once('/').context("a path")?.0.to_owned().into()
        }
        ("b64enc", [Value::String(text)]) => STANDARD.encode(text).into(),
        ("sha256sum", [Value::String(text)]) => sha256(text).into(),
        // A fixed text of the length that is asked for: a test compares what it renders.
        ("randAlphaNum", [Value::Number(length)]) => {
            let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
            "r4nd0m".chars().cycle().take(length.context("a length")?).collect::<String>().into()
        }
        ("toYaml", [value]) => {
            serde_saphyr::to_string(value).context("toYaml")?.trim_end().to_owned().into()
        }
        ("indent", [Value::Number(width), Value::String(text)]) => indent(width, text)?.into(),
        ("nindent", [Value::Number(width), Value::String(text)]) => {
            format!("\n{}", indent(width, text)?).into()
        }
        _ => bail!("not a function of the chart, or with other arguments: {arguments:?}"),
    })
}

fn pick(first: bool, one: &Value, other: &Value) -> Value {
    if first { one.clone() } else { other.clone() }
}

fn dict(pairs: &[Value]) -> anyhow::Result<Value> {
    let mut map = Map::new();
    for pair in pairs.chunks(2) {
        let [Value::String(key), value] = pair else { bail!("keys and values in turn") };
        map.insert(key.clone(), value.clone());
    }
    Ok(map.into())
}

fn printf(format: &str, arguments: &[Value]) -> anyhow::Result<String> {
    let mut pieces = format.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    let mut arguments = arguments.iter();
    for piece in pieces {
        let rest = piece.strip_prefix(['s', 'd']).context("only %s and %d are known")?;
        text.push_str(&printed(arguments.next().context("too few arguments")?)?);
        text.push_str(rest);
    }
    ensure!(arguments.next().is_none(), "too many arguments");
    Ok(text)
}

fn indent(width: &serde_json::Number, text: &str) -> anyhow::Result<String> {
    let width = width.as_u64().and_then(|width| usize::try_from(width).ok()).context("a width")?;
    let pad = " ".repeat(width);
    Ok(format!("{pad}{}", text.replace('\n', &format!("\n{pad}"))))
}

fn sha256(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
