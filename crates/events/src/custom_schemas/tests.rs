//! What the schemas promise, on SQLite and on PostgreSQL.

use platform::{SimClock, SystemClock, SystemFs};
use state::{PostgresCluster, StateUrl};

use super::compiled::Compiled;
use super::*;

const TENANTS: &str = "INSERT INTO tenants (id, name, limits, retention, disabled, created_at) \
     VALUES ('default', 'd', '{}', '{}', 0, 0), ('blue', 'b', '{}', '{}', 0, 0)";

/// Runs each case on SQLite as a test of its own, and all on one PostgreSQL.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    let folder = tempfile::tempdir().expect("a folder");
                    let path = folder.path().join("state.sqlite");
                    super::$case(super::World::new(state::StateUrl::Sqlite { path }).await).await;
                }
            )*
        }

        #[tokio::test]
        async fn postgres_keeps_the_same_contract() {
            let Some(cluster) = PostgresCluster::start() else { return };
            $($case(World::new(cluster.new_database().await).await).await;)*
        }
    };
}

contract!(
    each_tenant_has_schemas_of_its_own_that_survive,
    what_another_server_changes_holds_within_a_second,
    a_tenant_has_only_so_many,
    nothing_is_kept_without_its_entry_in_the_audit_log,
    names_are_within_bounds,
);

/// A database with two tenants.
struct World {
    clock: Arc<SimClock>,
    database: Database,
}

impl World {
    async fn new(url: StateUrl) -> Self {
        // The database waits in real time: simulated time jumps.
        let opened = Database::open(url, &*SystemFs::new(), SystemClock::new()).await;
        let database = opened.expect("a database");
        database.execute(TENANTS, &[]).await.expect("tenants");
        Self { clock: SimClock::new(Timestamp::from_millis(0)), database }
    }

    async fn open(&self) -> Arc<CustomSchemas> {
        let clock = Arc::new(Arc::clone(&self.clock)) as Arc<dyn Clock>;
        CustomSchemas::open(self.database.clone(), clock).await.expect("readable")
    }
}

fn nothing() -> Statement {
    Statement::new("UPDATE revision SET number = number", [])
}

fn schema(tenant: &str, event_name: &str, mode: SchemaMode, schema: &str) -> CustomSchema {
    CustomSchema {
        tenant: TenantId::new(tenant).expect("a name"),
        app: "shop".to_owned(),
        event_name: event_name.to_owned(),
        mode,
        schema: schema.to_owned(),
        updated_at: Timestamp::from_millis(1),
    }
}

/// A binary `causality.v1.CustomEvent`.
fn custom_event(parameters: &str) -> Vec<u8> {
    let json = format!(
        r#"{{"appId":"shop","deviceId":"d","customEvent":{{"eventName":"e"{parameters}}}}}"#
    );
    let mut envelope = Vec::new();
    schema::envelope_from_json(json.as_bytes(), &mut envelope).expect("an event");
    let event = schema::inspect(&envelope, &schema::Limits::default()).expect("valid");
    event.payload.to_vec()
}

async fn each_tenant_has_schemas_of_its_own_that_survive(world: World) {
    let schemas = world.open().await;
    let required = r#"{"required":["a"]}"#;
    let ours = schema("default", "e", SchemaMode::Enforce, required);
    schemas.put(ours.clone(), nothing()).await.expect("put");
    for schemas in [schemas, world.open().await] {
        let verdict = |tenant: &str, app: &str, event_name: &str| {
            let tenant = TenantId::new(tenant).expect("a name");
            schemas.check(&tenant, app, event_name, &custom_event("")) == Verdict::Fits
        };
        assert!(!verdict("default", "shop", "e"));
        assert!(verdict("blue", "shop", "e") && verdict("default", "b", "e"));
        assert!(verdict("default", "shop", "f"));
        let listed = schemas.list(&ours.tenant).await.expect("one");
        assert_eq!(listed, std::slice::from_ref(&ours));
    }
}

async fn what_another_server_changes_holds_within_a_second(world: World) {
    let (here, elsewhere) = (world.open().await, world.open().await);
    let changed = schema("default", "e", SchemaMode::Enforce, r#"{"required":["a"]}"#);
    let tenant = changed.tenant.clone();
    elsewhere.put(changed, nothing()).await.expect("put");
    let fits = || here.check(&tenant, "shop", "e", &custom_event("")) == Verdict::Fits;
    assert!(fits(), "nobody has asked yet");
    let (stop, stopped) = watch::channel(false);
    let work = async {
        world.clock.advance(Duration::from_secs(1));
        // The question to the database takes real time; were it not asked, the loop would end in vain.
        for _ in 0..100_000 {
            if !fits() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(!fits());
        stop.send(true).expect("somebody listens");
    };
    tokio::join!(biased; Arc::clone(&here).run(stopped), work);
}

async fn a_tenant_has_only_so_many(world: World) {
    const FILL: &str = "INSERT INTO event_schemas (tenant, app, event_name, mode, schema, updated_at) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT 'default', 'shop', 'e' || i, 'off', '{}', 0 FROM n";
    let count = i64::from(SCHEMAS_PER_TENANT_MAX) - 1;
    world.database.execute(FILL, &[count.into()]).await.expect("many");
    let schemas = world.open().await;
    let put = |tenant, name| schemas.put(schema(tenant, name, SchemaMode::Warn, "{}"), nothing());
    put("default", "last").await.expect("room for one");
    let refused = put("default", "beyond").await.expect_err("no room");
    assert!(matches!(refused, CustomSchemaError::TooMany), "{refused}");
    put("default", "last").await.expect("in place of the old one");
    put("blue", "beyond").await.expect("another tenant");
}

async fn nothing_is_kept_without_its_entry_in_the_audit_log(world: World) {
    let schemas = world.open().await;
    let tenant = TenantId::default_tenant();
    let fails =
        || Statement::new("UPDATE revision SET number = 0 WHERE area = 'x'", []).affecting(1);
    let new = schema("default", "e", SchemaMode::Warn, "{}");
    assert!(schemas.put(new.clone(), fails()).await.is_err());
    assert!(schemas.list(&tenant).await.expect("none").is_empty());
    schemas.put(new, nothing()).await.expect("put");
    assert!(schemas.remove(&tenant, "shop", "e", fails()).await.is_err());
    assert_eq!(schemas.list(&tenant).await.expect("one").len(), 1);
    assert!(schemas.remove(&tenant, "shop", "e", nothing()).await.expect("removed"));
    assert!(!schemas.remove(&tenant, "shop", "e", nothing()).await.expect("nothing"));
}

async fn names_are_within_bounds(world: World) {
    let schemas = world.open().await;
    for name in ["", "a\0b", &"x".repeat(NAME_BYTES_MAX + 1)] {
        let refused = schemas.put(schema("default", name, SchemaMode::Off, "{}"), nothing()).await;
        let is_name = matches!(refused, Err(CustomSchemaError::Name { field: "event_name" }));
        assert!(is_name, "{refused:?}");
    }
}

fn check_text(schema: &str, expected: &str) {
    let told = Compiled::new(schema).err().map_or_else(String::new, |error| error.to_string());
    let fits = if expected.is_empty() { told.is_empty() } else { told.contains(expected) };
    assert!(fits, "{schema}: {told:?}");
}

#[test]
fn schemas_refer_to_nothing_outside_and_take_bounded_time() {
    let nested =
        |levels: usize| format!("{}true{}", r#"{"not":"#.repeat(levels), "}".repeat(levels));
    let doubling = |levels: usize| {
        let definitions: Vec<_> = (0..levels)
            .map(|level| {
                let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, level + 1);
                format!(r#""d{level}":{{"anyOf":[{next},{next}]}}"#)
            })
            .collect();
        format!(
            r##"{{"$ref":"#/$defs/d0","$defs":{{{},"d{levels}":{{}}}}}}"##,
            definitions.join(",")
        )
    };
    let for_all = |parts: usize| {
        let parts = vec!["true"; parts].join(",");
        format!(r#"{{"additionalProperties":{{"anyOf":[{parts}]}}}}"#)
    };
    let patterns = |count: usize| {
        let properties: Vec<_> =
            (0..count).map(|index| format!(r#""p{index}":{{"pattern":"^a"}}"#)).collect();
        format!(r#"{{"properties":{{{}}}}}"#, properties.join(","))
    };
    for (schema, expected) in [
        ("{}", ""),
        (r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"urn:x"}"#, ""),
        (r##"{"$defs":{"a":{"type":"string"}},"properties":{"x":{"$ref":"#/$defs/a"}}}"##, ""),
        (r#"{"properties":{"$ref":{"type":"string"}}}"#, ""),
        ("[]", "must be a JSON object"),
        ("{", "must be a JSON object: EOF"),
        (r#"{"type":"strin"}"#, "is not valid"),
        (r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#, "'$schema'"),
        (r#"{"$ref":"https://example.com/s.json"}"#, "'$ref: https://example.com/s.json'"),
        (r#"{"$ref":"file:///etc/passwd"}"#, "must not use"),
        (r##"{"$ref":"#/$defs/none"}"##, "refers to '#/$defs/none'"),
        (r##"{"$ref":"#anchor"}"##, "refers to '#anchor'"),
        (r##"{"properties":{"a":{"$ref":"#"}}}"##, "is too large"),
        (r##"{"$dynamicRef":"#x"}"##, "'$dynamicRef'"),
        (r#"{"properties":{"a":{"$id":"urn:x"}}}"#, "'$id'"),
        (r#"{"properties":{"a":{"pattern":"(?=x)"}}}"#, "is not valid"),
        (r#"{"properties":{"a":{"pattern":"(((a{100}){100}){100}){100}"}}}"#, "is not valid"),
        (&nested(31), ""),
        (&nested(33), "is too large"),
        (&doubling(5), ""),
        (&doubling(20), "is too large"),
        (&for_all(197), ""),
        (&for_all(198), "is too large"),
        (&patterns(32), ""),
        (&patterns(33), "is too large"),
        (&format!("{{}}{}", " ".repeat(SCHEMA_BYTES_MAX - 2)), ""),
        (&format!("{{}}{}", " ".repeat(SCHEMA_BYTES_MAX - 1)), "is longer than 65536 bytes"),
    ] {
        check_text(schema, expected);
    }
}

#[test]
fn a_violation_is_told_in_short_however_long_the_schema_and_the_name_are() {
    let texts: Vec<String> = (0..1_000).map(|number| format!("\u{e9}{number}")).collect();
    let name = "n".repeat(5_000);
    let schema = serde_json::json!({ "properties": { name.as_str(): { "enum": texts } } });
    let compiled = Compiled::new(&schema.to_string()).expect("a schema");
    let violations = compiled.check(&custom_event(&format!(r#","intParams":{{"{name}":3}}"#)));
    let [violation] = violations.as_slice() else { panic!("{violations:?}") };
    assert!(violation.field.starts_with("custom_event.nnn"), "{}", violation.field);
    assert!(violation.field.len() < 300 && violation.description.len() < 600, "{violation}");
}

#[test]
fn all_parameters_of_an_event_are_one_object() {
    let schema = r#"{
        "properties": {
            "plan": {"enum": ["free", "pro"]}, "seats": {"type": "integer", "maximum": 10},
            "ratio": {"exclusiveMinimum": 0}, "trial": {"const": true}, "mail": {"pattern": "@"}
        },
        "required": ["plan"], "additionalProperties": false
    }"#;
    let compiled = Compiled::new(schema).expect("a schema");
    let long = r#","intParams":{"seats":9007199254740993}"#;
    for (parameters, expected) in [
        (
            r#","stringParams":{"plan":"pro"},"intParams":{"seats":3},"floatParams":{"ratio":0.5},"boolParams":{"trial":true}"#,
            "",
        ),
        ("", "custom_event: \"plan\" is a required property"),
        (r#","stringParams":{"plan":"x"}"#, "custom_event.plan: value is not one of"),
        (
            r#","intParams":{"plan":1},"stringParams":{"plan":"pro"}"#,
            "custom_event.plan: is there with values of two types",
        ),
        (
            r#","stringParams":{"plan":"pro","seats":"3"}"#,
            "custom_event.seats: value is not of type \"integer\"",
        ),
        (
            r#","stringParams":{"plan":"pro","who":"secret"}"#,
            "Additional properties are not allowed ('who'",
        ),
        (
            r#","stringParams":{"plan":"pro","mail":"secret"}"#,
            "custom_event.mail: value does not match",
        ),
        (long, "custom_event.seats: value is greater than the maximum of 10"),
    ] {
        let violations = compiled.check(&custom_event(parameters));
        let told: Vec<_> = violations.iter().map(ToString::to_string).collect();
        let told = told.join("; ");
        let fits = if expected.is_empty() { told.is_empty() } else { told.contains(expected) };
        assert!(fits, "{parameters}: {told}");
        assert!(!told.contains("secret"), "what was sent is not told: {told}");
    }
}
