//! Makes the document from the table of endpoints.

use std::collections::BTreeMap;

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    self, ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi,
    OpenApiBuilder, Ref, RefOr, Required, Schema, Server, Tag,
};
use utoipa::{PartialSchema as _, ToSchema};

use super::{Answer, Content, Description, Kind, Parameter, Place};
use crate::endpoint::{Access, Class, Endpoint, Family, Verb};

/// What the document says before the paths.
const INTRODUCTION: &str = "\
Metrics, events and image pulls in one program. Every refusal has a stable code in the header `X-Error-Code`; the \
codes are listed in docs/errors.md. Where a login is needed, send an API key as `X-API-Key` or as \
`Authorization: Bearer`, or use the session cookie that the login gives; with the cookie, changes also need \
`X-CSRF-Token`.";

/// Taken by everything that is for one tenant.
const TENANT: Parameter = Parameter {
    name: "X-Scope-OrgID",
    details: "Another tenant than the own one, for those who may act in every tenant.",
    place: Place::Header { required: false },
    kind: Kind::Text,
};

/// The headings, in order.
pub(crate) const TAGS: [(&str, &str); 9] = [
    ("prometheus", "The Prometheus HTTP API, as Grafana and others expect it."),
    ("metrics", "Metrics as TinyObs has always taken and given them."),
    ("events", "Product events: sending, and what they have to fit."),
    ("pulls", "Image pulls: reports of agents, progress, history, pods that wait."),
    ("session", "Logging in and out."),
    ("administration", "Keys, users, tenants, usage, the audit log, the configuration."),
    ("status", "Whether the program is well."),
    ("observability", "What the program says about itself."),
    ("reference", "This document."),
];

/// A refusal below `/v1`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what failure.rs writes")]
struct NativeError {
    /// The status in words.
    error: String,
    /// The stable code.
    code: String,
    /// What is wrong, and what to change.
    message: Option<String>,
}

/// A refusal of the routes that Causality had.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what failure.rs writes")]
struct CausalityError {
    /// What is wrong, and what to change.
    error: String,
    /// The stable code.
    code: String,
}

/// A refusal of the routes of Causality's event service: it has one of the fields.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what events/failure.rs writes")]
struct EventsError {
    /// Why the request was refused before it was read.
    #[schema(nullable = false)]
    error: Option<String>,
    /// Why the request cannot be served.
    #[schema(nullable = false)]
    message: Option<String>,
    /// What is wrong with the body.
    #[schema(nullable = false)]
    violations: Option<Vec<EventsViolation>>,
}

/// What is wrong with a field of a body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what events/failure.rs writes")]
struct EventsViolation {
    /// Names of fields joined by dots, without places in lists; `body` for all of it.
    field: String,
    description: String,
}

/// A refusal of the OTLP routes: a `google.rpc.Status`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what failure.rs writes")]
struct OtlpError {
    /// What is wrong, and what to change.
    message: String,
}

/// A refusal of the Prometheus HTTP API.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what failure.rs writes")]
struct PrometheusError {
    /// Always `error`.
    status: String,
    #[schema(rename = "errorType")]
    error_type: String,
    /// What is wrong, and what to change.
    error: String,
}

/// Returns the OpenAPI document of the endpoints.
pub(crate) fn document(endpoints: &[Endpoint]) -> OpenApi {
    let mut paths: BTreeMap<&str, PathItem> = BTreeMap::new();
    let mut components = ComponentsBuilder::new();
    for family in [
        Family::Causality,
        Family::Events,
        Family::Native,
        Family::Otlp,
        Family::Plain,
        Family::Prometheus,
        Family::Pulltrace,
    ] {
        for (status, details) in REFUSALS {
            let name = refusal_name(status, family);
            components = components.response(name, refusal(status, details, family));
        }
    }
    components = components
        .schema(CausalityError::name(), CausalityError::schema())
        .schema(EventsError::name(), EventsError::schema())
        .schema(EventsViolation::name(), EventsViolation::schema())
        .schema(NativeError::name(), NativeError::schema())
        .schema(OtlpError::name(), OtlpError::schema())
        .schema(PrometheusError::name(), PrometheusError::schema());
    for endpoint in endpoints {
        for (name, schema) in &endpoint.description.schemas {
            components = components.schema(name, schema.clone());
        }
        for verb in &endpoint.verbs {
            let item = PathItem::new(method(*verb), operation(endpoint, *verb));
            match paths.get_mut(endpoint.rule.path) {
                None => drop(paths.insert(endpoint.rule.path, item)),
                Some(present) => present.merge_operations(item),
            }
        }
    }
    let paths =
        paths.into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let licence = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0"));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("TinyObs")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(INTRODUCTION))
                .license(Some(licence.build())),
        )
        .servers(Some([Server::new("/")]))
        .tags(Some(TAGS.map(|(name, details)| {
            let mut tag = Tag::new(name);
            tag.description = Some(details.to_owned());
            tag
        })))
        .paths(paths)
        .components(Some(with_security(components).build()))
        .build()
}

fn with_security(components: ComponentsBuilder) -> ComponentsBuilder {
    let key = ApiKeyValue::with_description("X-API-Key", "An API key: 64 hexadecimal digits.");
    let cookie = ApiKeyValue::with_description("tinyobs_session", "The session of a person.");
    components
        .security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(key)))
        .security_scheme("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)))
        .security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
}

const fn method(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    }
}

fn operation(endpoint: &Endpoint, verb: Verb) -> OperationBuilder {
    let Endpoint { rule, description, verbs, .. } = endpoint;
    let mut operation = OperationBuilder::new()
        .tag(description.tag)
        .summary(Some(description.summary))
        .operation_id(Some(operation_id(verb, rule.path)));
    let details = details(description, rule.access);
    if !details.is_empty() {
        operation = operation.description(Some(details));
    }
    // As a form, the parameters of the query travel in the body.
    let is_form = verb == Verb::Post && verbs.contains(&Verb::Get);
    for parameter in &description.parameters {
        if !is_form || !matches!(parameter.place, Place::Query { .. }) {
            operation = operation.parameter(self::parameter(parameter));
        }
    }
    if matches!(rule.access, Access::Needs(_) | Access::Server) {
        operation = operation.parameter(self::parameter(&TENANT));
    }
    let body = if is_form { Some(form(description)) } else { body(description) };
    operation = operation.request_body(body);
    for answer in &description.answers {
        operation = operation.response(answer.status.to_string(), self::answer(answer));
    }
    for (status, _) in refusals(endpoint, verb) {
        if description.answers.iter().all(|answer| answer.status != status) {
            let reference = Ref::from_response_name(refusal_name(status, rule.family));
            operation = operation.response(status.to_string(), reference);
        }
    }
    let schemes: &[&str] = match rule.access {
        Access::Needs(_) if rule.family == Family::Segment => {
            &["key", "bearer", "basic", "session"]
        }
        Access::Public => &[],
        Access::Session => &["session"],
        Access::Needs(_) | Access::Server => &["key", "bearer", "session"],
    };
    for scheme in schemes {
        operation = operation.security(SecurityRequirement::new(*scheme, [""; 0]));
    }
    operation
}

fn details(description: &Description, access: Access) -> String {
    let needs = match access {
        Access::Public => String::new(),
        Access::Session => "Needs a session.".to_owned(),
        Access::Needs(permission) => format!("Needs the permission `{permission}`."),
        Access::Server => "Needs an administrator of all tenants.".to_owned(),
    };
    [description.details, &needs]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns a name such as `get_api_v1_label_name_values`; no other operation may have it.
fn operation_id(verb: Verb, path: &str) -> String {
    let verb = verb.as_str().to_ascii_lowercase();
    // Without a word of its own, `/-/ready` would be called as `/ready` is.
    let segments = path.split('/').map(|segment| if segment == "-" { "dash" } else { segment });
    let words = segments
        .flat_map(|segment| segment.split(|c: char| !c.is_ascii_alphanumeric()))
        .filter(|word| !word.is_empty());
    std::iter::once(verb.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

fn kind(kind: Kind) -> RefOr<Schema> {
    match kind {
        Kind::Text => Object::with_type(Type::String).into(),
        Kind::Integer => Object::with_type(Type::Integer).into(),
        Kind::Boolean => Object::with_type(Type::Boolean).into(),
        Kind::Texts => ArrayBuilder::new().items(Object::with_type(Type::String)).into(),
    }
}

fn parameter(parameter: &Parameter) -> ParameterBuilder {
    let (place, required) = match parameter.place {
        Place::Path => (ParameterIn::Path, Required::True),
        Place::Query { required: true } => (ParameterIn::Query, Required::True),
        Place::Query { required: false } => (ParameterIn::Query, Required::False),
        Place::Header { required: true } => (ParameterIn::Header, Required::True),
        Place::Header { required: false } => (ParameterIn::Header, Required::False),
    };
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(required)
        .description(Some(parameter.details))
        .schema(Some(kind(parameter.kind)))
}

fn form(description: &Description) -> RequestBody {
    let mut object = ObjectBuilder::new();
    for parameter in &description.parameters {
        if let Place::Query { required } = parameter.place {
            object = object.property(parameter.name, kind(parameter.kind));
            if required {
                object = object.required(parameter.name);
            }
        }
    }
    let content = ContentBuilder::new().schema(Some(object)).build();
    RequestBodyBuilder::new()
        .content("application/x-www-form-urlencoded", content)
        .required(Some(Required::True))
        .build()
}

fn body(description: &Description) -> Option<RequestBody> {
    if description.bodies.is_empty() {
        return None;
    }
    let body = RequestBodyBuilder::new().required(Some(Required::True));
    let body = description
        .bodies
        .iter()
        .fold(body, |body, content| body.content(content.media_type, media(content)));
    Some(body.build())
}

fn media(content: &Content) -> openapi::Content {
    ContentBuilder::new().schema(content.schema.clone()).build()
}

fn answer(answer: &Answer) -> Response {
    let response = ResponseBuilder::new().description(answer.details);
    let contents = answer.contents.iter();
    contents
        .fold(response, |response, content| response.content(content.media_type, media(content)))
        .build()
}

/// The refusals that come with rules and classes, by status.
const REFUSALS: [(u16, &str); 12] = [
    (400, "A parameter or the body makes no sense."),
    (401, "It is not known who sends the request."),
    (403, "Not allowed, or the request comes from elsewhere."),
    (404, "There is no such thing, or no such tenant."),
    (409, "It contradicts what is there, such as a name that is taken."),
    (408, "The body took too long to arrive."),
    (413, "The body is too long, or has too many parts."),
    (415, "The body is of a kind that this route does not read."),
    (422, "The query cannot be evaluated."),
    (429, "Too many requests; come again after Retry-After."),
    (503, "Too much is going on, or the storage is not available."),
    (507, "The tenant's storage is full."),
];

/// Returns the refusals that come with the rule and the class of an endpoint.
fn refusals(endpoint: &Endpoint, verb: Verb) -> Vec<(u16, &'static str)> {
    let Endpoint { rule, description, .. } = endpoint;
    let asks_who = rule.access != Access::Public;
    let takes_body =
        !description.bodies.is_empty() || (verb == Verb::Post && endpoint.verbs.len() > 1);
    let takes_something = takes_body || !description.parameters.is_empty() || asks_who;
    let possible = |status: u16| match status {
        400 => takes_something,
        401 | 404 => asks_who || rule.class == Class::Login,
        // The original says that such a request is wrong.
        413 => takes_body && rule.family != Family::Events,
        408 | 415 => takes_body,
        422 => rule.class == Class::Query,
        429 | 503 => rule.class != Class::Probe,
        507 => rule.class == Class::Write,
        403 => true,
        _ => false,
    };
    REFUSALS
        .into_iter()
        .filter(|(status, _)| possible(*status) || description.refuses.contains(status))
        .collect()
}

/// Returns the name of a refusal among the components, such as `Native429`.
fn refusal_name(status: u16, family: Family) -> String {
    // Those are spelt alike.
    let family = if family == Family::Segment { Family::Native } else { family };
    format!("{family:?}{status}")
}

fn refusal(status: u16, details: &'static str, family: Family) -> Response {
    let (media_type, schema): (&str, RefOr<Schema>) = match family {
        Family::Prometheus => {
            ("application/json", Ref::from_schema_name(PrometheusError::name()).into())
        }
        Family::Causality => {
            ("application/json", Ref::from_schema_name(CausalityError::name()).into())
        }
        Family::Native | Family::Segment => {
            ("application/json", Ref::from_schema_name(NativeError::name()).into())
        }
        Family::Events if status == 429 => {
            ("text/plain; charset=utf-8", Object::with_type(Type::String).into())
        }
        Family::Events => ("application/json", Ref::from_schema_name(EventsError::name()).into()),
        Family::Otlp => ("application/json", Ref::from_schema_name(OtlpError::name()).into()),
        Family::Plain | Family::Pulltrace => {
            ("text/plain; charset=utf-8", Object::with_type(Type::String).into())
        }
    };
    let text = |details: &str| {
        HeaderBuilder::new()
            .schema(Some(Object::with_type(Type::String)))
            .description(Some(details))
            .build()
    };
    let mut response = ResponseBuilder::new()
        .description(details)
        .content(media_type, ContentBuilder::new().schema(Some(schema)).build())
        .header("X-Error-Code", text("The stable code of the refusal."));
    if family == Family::Otlp || (family == Family::Events && ![401, 403, 429].contains(&status)) {
        let protobuf = ContentBuilder::new().schema(Some(Object::with_type(Type::String))).build();
        response = response.content("application/x-protobuf", protobuf);
    }
    if matches!(status, 429 | 503 | 507) {
        response = response.header("Retry-After", text("Seconds after which to come again."));
    }
    response.build()
}
