//! Describes the endpoints as an OpenAPI 3.1 document.

mod document;

#[cfg(test)]
pub(crate) use document::TAGS;
pub(crate) use document::document;

use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A named schema, and those that it refers to.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// What an endpoint is for, takes and answers.
///
/// Answers that come with the rule, such as 401 and 429, are added to the document by themselves.
#[derive(Clone, Default)]
pub(crate) struct Description {
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) details: &'static str,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) bodies: Vec<Content>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) refuses: Vec<u16>,
    pub(crate) schemas: Schemas,
}

impl std::fmt::Debug for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Description").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// A parameter, in the path or in the query (and, where a form is taken, in the form).
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) details: &'static str,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query { required: bool },
    Header { required: bool },
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    /// Any number of texts under the same name.
    Texts,
}

/// A body of one media type.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) media_type: &'static str,
    pub(crate) schema: Option<RefOr<Schema>>,
}

/// An answer with one status.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) details: &'static str,
    /// The bodies that it may have; none for an answer without a body.
    pub(crate) contents: Vec<Content>,
}

impl Description {
    /// Returns a description under a heading; `summary` is a few words, without a full stop.
    pub(crate) fn new(tag: &'static str, summary: &'static str) -> Self {
        Self { tag, summary, ..Self::default() }
    }

    /// Says more, in sentences.
    pub(crate) const fn details(mut self, details: &'static str) -> Self {
        self.details = details;
        self
    }

    /// Adds a parameter of the path.
    pub(crate) fn path(self, name: &'static str, details: &'static str) -> Self {
        self.parameter(Parameter { name, details, place: Place::Path, kind: Kind::Text })
    }

    /// Adds a parameter that may be left out.
    pub(crate) fn query(self, name: &'static str, kind: Kind, details: &'static str) -> Self {
        self.parameter(Parameter { name, details, place: Place::Query { required: false }, kind })
    }

    /// Adds a parameter that must be there.
    pub(crate) fn required(self, name: &'static str, kind: Kind, details: &'static str) -> Self {
        self.parameter(Parameter { name, details, place: Place::Query { required: true }, kind })
    }

    /// Adds any parameter.
    pub(crate) fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Takes a body of JSON.
    pub(crate) fn takes<T: ToSchema>(mut self) -> Self {
        let schema = self.refer::<T>();
        self.bodies.push(Content { media_type: "application/json", schema: Some(schema) });
        self
    }

    /// Takes a body that is not JSON.
    pub(crate) fn takes_media(mut self, media_type: &'static str) -> Self {
        self.bodies.push(Content { media_type, schema: Some(binary()) });
        self
    }

    /// Answers 200 with JSON.
    pub(crate) fn answers<T: ToSchema>(self, details: &'static str) -> Self {
        self.answers_with::<T>(200, details)
    }

    /// Answers with JSON.
    pub(crate) fn answers_with<T: ToSchema>(mut self, status: u16, details: &'static str) -> Self {
        let content = Content { media_type: "application/json", schema: Some(self.refer::<T>()) };
        self.answers.push(Answer { status, details, contents: vec![content] });
        self
    }

    /// Answers with a body that is not JSON.
    pub(crate) fn answers_media(
        mut self,
        status: u16,
        media_type: &'static str,
        details: &'static str,
    ) -> Self {
        let content = Content { media_type, schema: Some(text()) };
        self.answers.push(Answer { status, details, contents: vec![content] });
        self
    }

    /// Answers 200 with any number of JSON objects, one after the other.
    pub(crate) fn answers_items<T: ToSchema>(
        mut self,
        media_type: &'static str,
        details: &'static str,
    ) -> Self {
        let content = Content { media_type, schema: Some(self.refer::<T>()) };
        self.answers.push(Answer { status: 200, details, contents: vec![content] });
        self
    }

    /// Lets the answer described last have a body of another media type, as the request's.
    pub(crate) fn or_media(mut self, media_type: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.contents.push(Content { media_type, schema: Some(text()) });
        }
        self
    }

    /// Answers without a body.
    pub(crate) fn answers_nothing(mut self, status: u16, details: &'static str) -> Self {
        self.answers.push(Answer { status, details, contents: Vec::new() });
        self
    }

    /// May be refused with a status that does not come with the rule.
    pub(crate) fn refuses(mut self, status: u16) -> Self {
        self.refuses.push(status);
        self
    }

    /// Remembers the schema of a type with those it needs, and returns a reference to it.
    fn refer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), <T as PartialSchema>::schema()));
        T::schemas(&mut self.schemas);
        RefOr::Ref(Ref::from_schema_name(name))
    }
}

fn binary() -> RefOr<Schema> {
    RefOr::T(Schema::Object(Object::with_type(Type::String)))
}

fn text() -> RefOr<Schema> {
    RefOr::T(Schema::Object(Object::with_type(Type::String)))
}
