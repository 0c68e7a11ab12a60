//! Statements on PostgreSQL.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgPool, PgRow, PgTypeInfo, Postgres};
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use crate::error::StateError;
use crate::migrations;
use crate::value::{Row, Statement, Value};

/// Lets one process migrate at a time. The number is ours and means nothing.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7305808869229538)";

pub(super) async fn query(
    pool: &PgPool,
    sql: &'static str,
    values: &[Value],
) -> Result<Vec<Row>, StateError> {
    let rows = bound(sql, values).fetch_all(pool).await?;
    rows.iter().map(row).collect()
}

pub(super) async fn transaction(
    pool: &PgPool,
    statements: &[Statement],
) -> Result<Vec<u64>, StateError> {
    let mut transaction = pool.begin().await?;
    let mut counts = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let done = bound(statement.sql, &statement.values).execute(&mut *transaction).await?;
        statement.check(index, done.rows_affected())?;
        counts.push(done.rows_affected());
    }
    transaction.commit().await?;
    Ok(counts)
}

pub(super) async fn migrate(pool: &PgPool, now: i64) -> Result<(), StateError> {
    let mut transaction = pool.begin().await?;
    sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
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
) -> sqlx::query::Query<'q, Postgres, PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Null => query.bind(Untyped),
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.as_str()),
    })
}

/// A null whose type PostgreSQL finds out from where it stands.
#[derive(Clone, Copy, Debug)]
struct Untyped;

/// The type `unknown`, as of a literal without a type.
const UNKNOWN: Oid = Oid(705);

impl sqlx::Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UNKNOWN)
    }
}

impl sqlx::Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

fn row(row: &PgRow) -> Result<Row, StateError> {
    let value = |column| -> Result<Value, StateError> {
        let raw = row.try_get_raw(column)?;
        match raw.type_info().name() {
            _ if raw.is_null() => Ok(Value::Null),
            "INT8" => Ok(Value::Integer(row.try_get_unchecked(column)?)),
            "INT4" => Ok(Value::Integer(row.try_get_unchecked::<i32, _>(column)?.into())),
            "TEXT" => Ok(Value::Text(row.try_get_unchecked(column)?)),
            _ => Err(StateError::column(column, "number or text")),
        }
    };
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}
