//! JSONPath as RFC 9535 has it, within bounds.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath as Parsed;

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 512;
/// Deepest nesting of brackets and parentheses: the parser tries a nested part several times over, at each level anew.
const NESTING_MAX: usize = 4;
/// Most selectors that can choose several values, `*`, `..`, `?`, `:` and `,`: each multiplies the work.
const WIDE_MAX: usize = 8;

/// A JSONPath that can be evaluated with little work: in proportion to the value, with a bounded factor.
///
/// It is [RFC 9535](https://www.rfc-editor.org/rfc/rfc9535) without the functions `match` and `search`, and with `$`
/// at the beginning only: a filter that begins at the root would look through all of it once for each value.
#[derive(Clone)]
pub struct JsonPath {
    text: Box<str>,
    parsed: Parsed,
}

/// Why a text is no path that is evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {position}: {reason}")]
pub struct PathError {
    /// Where in the path, in bytes from 1 on.
    pub position: usize,
    /// What is wrong.
    pub reason: String,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// It is no path, too long, too deep or too wide; the error says where.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check_bounds(text)?;
        let parsed = Parsed::parse(text).map_err(|error| PathError {
            // Counted from 0, whatever its documentation says; at the end of the text when something is missing.
            position: error.position() + 1,
            reason: describe(error.message()),
        })?;
        Ok(Self { text: text.into(), parsed })
    }

    /// Returns the path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the path leads to anything in `value`.
    #[must_use]
    pub fn selects(&self, value: &Value) -> bool {
        !self.parsed.query(value).is_empty()
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonPath").field(&self.text).finish()
    }
}

/// Returns the parser's message without what only its authors understand.
fn describe(message: &str) -> String {
    match message.strip_suffix("parser error") {
        Some(context) => format!("{context}this is no JSONPath"),
        None => message.to_owned(),
    }
}

/// Checks, without understanding the path, that parsing and evaluating it can only be so much work.
fn check_bounds(text: &str) -> Result<(), PathError> {
    let error = |index: usize, reason: &str| {
        Err(PathError { position: index + 1, reason: reason.to_owned() })
    };
    if text.len() > PATH_BYTES_MAX {
        return error(PATH_BYTES_MAX, "a path has at most 512 bytes");
    }
    let (mut depth, mut wide, mut quote, mut escaped, mut before) = (0, 0, None, false, b' ');
    for (index, byte) in text.bytes().enumerate() {
        if let Some(end) = quote {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                _ if byte == end => quote = None,
                _ => {}
            }
            continue;
        }
        match byte {
            b'\'' | b'"' => quote = Some(byte),
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth = usize::saturating_sub(depth, 1),
            b'*' | b'?' | b':' | b',' => wide += 1,
            b'.' if before == b'.' => wide += 1,
            b'$' if index > 0 => return error(index, "a path has '$' at its beginning only"),
            _ => {}
        }
        if depth > NESTING_MAX {
            return error(index, "brackets are nested more than 4 deep");
        }
        if wide > WIDE_MAX {
            return error(index, "more than 8 of '*', '..', '?', ':' and ','");
        }
        before = byte;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: bool) {
        let event = json!({
            "id": "1", "appId": "shop", "timestampMs": "1700000000000",
            "deviceContext": { "screenWidth": 390, "locale": "de_DE" },
            "purchaseComplete": {
                "orderId": "o-1", "totalCents": "1999",
                "items": [{ "productId": "a", "quantity": 2 }, { "productId": "b" }],
            },
        });
        let parsed = JsonPath::parse(path).expect("a path");
        assert_eq!(parsed.selects(&event), expected, "{path}");
        assert_eq!(parsed.as_str(), path);
    }

    #[test]
    fn an_event_is_looked_into() {
        check("$", true);
        check("$.purchaseComplete", true);
        check("$.screenView", false);
        check("$['appId']", true);
        check("$.purchaseComplete.items[1]", true);
        check("$.purchaseComplete.items[2]", false);
        check("$.purchaseComplete.items[-1].quantity", false);
        check("$.purchaseComplete.items[0:2:2].quantity", true);
        check("$[?@.screenWidth >= 390]", true);
        check("$[?@.screenWidth > 390]", false);
        check("$..[?@.productId == 'b' && !@.quantity]", true);
        check("$..items[?@.quantity > 1 || @.productId == \"z\"]", true);
        check("$[?count(@.items[*]) == 2]", true);
        check("$[?length(@.orderId) == 4]", false);
        check("$..[?@.note == 'a [ ( * , , , , , , , , $ b']", false);
    }

    #[track_caller]
    fn check_error(path: &str, position: usize, reason: &str) {
        let error = JsonPath::parse(path).expect_err("no path");
        assert_eq!((error.position, error.reason.as_str()), (position, reason), "{path}");
    }

    #[test]
    fn what_is_no_path_is_told_with_its_place() {
        check_error("", 1, "this is no JSONPath");
        check_error("appId", 1, "this is no JSONPath");
        check_error("$.appId]", 8, "this is no JSONPath");
        check_error("$.a[?@.b == ]", 10, "in long-hand segment, expected closing ']'");
        check_error(
            "$[?search(@.a, 'b')]",
            4,
            "in long-hand segment, function name 'search' is not defined",
        );
    }

    #[test]
    fn a_path_has_bounds() {
        let of_bytes = |bytes: usize| format!("$.{}", "a".repeat(bytes - 2));
        assert!(JsonPath::parse(&of_bytes(PATH_BYTES_MAX)).is_ok());
        check_error(&of_bytes(513), 513, "a path has at most 512 bytes");

        let nested = |depth: usize| format!("${}{}", "[?@".repeat(depth), "]".repeat(depth));
        assert!(JsonPath::parse(&nested(NESTING_MAX)).is_ok());
        check_error(&nested(5), 14, "brackets are nested more than 4 deep");
        check_error(&format!("$[?{}", "(".repeat(400)), 7, "brackets are nested more than 4 deep");

        let wide = |count: usize| format!("${}", ".*".repeat(count));
        assert!(JsonPath::parse(&wide(WIDE_MAX)).is_ok());
        check_error(&wide(9), 19, "more than 8 of '*', '..', '?', ':' and ','");
        check_error("$[?@.a == $.b]", 11, "a path has '$' at its beginning only");
    }

    #[test]
    fn the_widest_path_over_a_large_event_chooses_a_bounded_number_of_values() {
        let entries: serde_json::Map<String, Value> =
            (0..1_000).map(|index| (format!("key{index}"), json!("value"))).collect();
        let event = json!({ "customEvent": { "stringParams": entries } });
        for path in ["$..[*,*,*]..*", "$..*..*..*..*", "$..[?@..[?@..*]]", "$[*,*,*][*,*]"] {
            let parsed = JsonPath::parse(path).expect("within the bounds");
            let chosen = parsed.parsed.query(&event).len();
            assert!(chosen <= 100 * 1_002, "{path}: {chosen}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error_within_it(
            text in "(\\$|@|\\.|\\.\\.|\\[|\\]|\\(|\\)|\\?|\\*|,|:|'|\"|\\\\|!|&&|\\|\\||==|<| |a|ä|1|-|count\\(|length\\(|value\\(){0,60}",
        ) {
            match JsonPath::parse(&text) {
                Ok(path) => {
                    let event = json!({ "a": [1, { "a": "ä" }] });
                    prop_assert!(path.parsed.query(&event).len() < 1_000);
                }
                Err(error) => prop_assert!((1..=text.len() + 1).contains(&error.position)),
            }
        }
    }
}
