//! What statements carry and rows hold, on both engines.

use crate::error::StateError;

/// A value that both engines know: `BIGINT` and `TEXT`.
///
/// Times are milliseconds since the epoch, booleans 0 or 1, JSON and hashes are text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A number, or a time, or a boolean.
    Integer(i64),
    /// A text without NUL: PostgreSQL takes none.
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Integer(i64::from(truth))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement with its values, for a transaction.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<Value>,
    pub(crate) expected: Option<u64>,
}

impl Statement {
    /// Returns a statement; the values stand where `sql` says `$1`, `$2` and so on.
    #[must_use]
    pub fn new(sql: &'static str, values: impl Into<Vec<Value>>) -> Self {
        Self { sql, values: values.into(), expected: None }
    }

    /// Demands that exactly `rows` rows are changed: otherwise the whole transaction is undone, and
    /// [`StateError::Unmet`] says so.
    #[must_use]
    pub const fn affecting(mut self, rows: u64) -> Self {
        self.expected = Some(rows);
        self
    }

    pub(crate) fn check(&self, statement: usize, affected: u64) -> Result<(), StateError> {
        match self.expected {
            Some(expected) if expected != affected => {
                Err(StateError::Unmet { statement, affected })
            }
            _ => Ok(()),
        }
    }
}

/// A row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    /// Returns the number in a column, counted from 0.
    ///
    /// # Errors
    ///
    /// There is no such column, or no number in it.
    pub fn integer(&self, column: usize) -> Result<i64, StateError> {
        self.optional_integer(column)?.ok_or_else(|| StateError::column(column, "number"))
    }

    /// Returns the truth in a column, counted from 0.
    ///
    /// # Errors
    ///
    /// There is no such column, or no number in it.
    pub fn boolean(&self, column: usize) -> Result<bool, StateError> {
        Ok(self.integer(column)? != 0)
    }

    /// Returns the text in a column, counted from 0.
    ///
    /// # Errors
    ///
    /// There is no such column, or no text in it.
    pub fn text(&self, column: usize) -> Result<&str, StateError> {
        self.optional_text(column)?.ok_or_else(|| StateError::column(column, "text"))
    }

    /// Returns the number in a column, counted from 0, if there is a value.
    ///
    /// # Errors
    ///
    /// There is no such column, or a text in it.
    pub fn optional_integer(&self, column: usize) -> Result<Option<i64>, StateError> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(StateError::column(column, "number")),
        }
    }

    /// Returns the text in a column, counted from 0, if there is a value.
    ///
    /// # Errors
    ///
    /// There is no such column, or a number in it.
    pub fn optional_text(&self, column: usize) -> Result<Option<&str>, StateError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(StateError::column(column, "text")),
        }
    }
}
