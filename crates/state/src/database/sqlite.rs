//! Statements on SQLite.

use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use crate::error::StateError;
use crate::migrations;
use crate::value::{Row, Statement, Value};

/// Takes the lock for writing at once: a transaction that first reads could not wait for it later.
const BEGIN: &str = "BEGIN IMMEDIATE";

pub(super) async fn query(
    pool: &SqlitePool,
    sql: &'static str,
    values: &[Value],
) -> Result<Vec<Row>, StateError> {
    let rows = bound(sql, values).fetch_all(pool).await?;
    rows.iter().map(row).collect()
}

pub(super) async fn transaction(
    pool: &SqlitePool,
    statements: &[Statement],
) -> Result<Vec<u64>, StateError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let mut counts = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let done = bound(statement.sql, &statement.values).execute(&mut *transaction).await?;
        statement.check(index, done.rows_affected())?;
        counts.push(done.rows_affected());
    }
    transaction.commit().await?;
    Ok(counts)
}

pub(super) async fn migrate(pool: &SqlitePool, now: i64) -> Result<(), StateError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    sqlx::raw_sql(migrations::CREATE_TABLE).execute(&mut *transaction).await?;
    let found = bound(migrations::SELECT_VERSION, &[]).fetch_one(&mut *transaction).await?;
    for step in migrations::missing(row(&found)?.integer(0)?)? {
        sqlx::raw_sql(step.sql).execute(&mut *transaction).await?;
        let values = [step.version.into(), step.name.into(), now.into()];
        bound(migrations::INSERT, &values).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

fn bound<'q>(
    sql: &'static str,
    values: &'q [Value],
) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.as_str()),
    })
}

fn row(row: &SqliteRow) -> Result<Row, StateError> {
    let value = |column| -> Result<Value, StateError> {
        let raw = row.try_get_raw(column)?;
        match raw.type_info().name() {
            _ if raw.is_null() => Ok(Value::Null),
            "INTEGER" => Ok(Value::Integer(row.try_get_unchecked(column)?)),
            "TEXT" => Ok(Value::Text(row.try_get_unchecked(column)?)),
            _ => Err(StateError::column(column, "number or text")),
        }
    };
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}
