//! The table of endpoints: what each path is for, who may use it, and how it is described.
//!
//! Router, enforcement and the OpenAPI document are made from the same table, so there is no route without a rule.

use std::sync::Arc;

use access::Permission;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use ingest::OtlpFormat;
use schema::requests::Form;

use crate::events;
use crate::failure::Failure;
use crate::openapi::Description;
use crate::parts::App;
use crate::pulls;

/// A method that endpoints answer to; `HEAD` comes with `GET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    /// Returns the method's name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Who may use an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without saying who they are. For probes, the login and the page's files.
    Public,
    /// Whoever is logged in with a session, whatever they may do. For what concerns only themselves.
    Session,
    /// Whoever may do this in the tenant that the request is for.
    Needs(Permission),
    /// Administrators of all tenants: what concerns the whole server.
    Server,
}

/// What an endpoint costs, and so which limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Answers at once from memory; must answer when everything else is refused.
    Probe,
    /// Evaluates or lists.
    Query,
    /// Stores.
    Write,
    /// Takes what an agent says of its node, into memory. Thousands of agents may be behind one address.
    Report,
    /// Manages.
    Admin,
    /// Checks passwords.
    Login,
    /// Stays open.
    Live,
}

/// How the answers of an endpoint spell failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `{"status":"error","errorType":…,"error":…}`.
    Prometheus,
    /// `{"error":…,"code":…,"message":…}`.
    Native,
    /// `{"error":…,"code":…}`, the error being the sentence.
    Causality,
    /// `{"message":…}`, as OTLP has it; what is wrong with a body of protobuf is said in protobuf.
    Otlp,
    /// A line of text.
    Plain,
    /// As Causality's event service: of events in JSON or protobuf as the request, before that in JSON or text.
    Events,
    /// As [`Family::Native`]; an API key may also be the user name of HTTP Basic.
    Segment,
    /// A line of text, in the words of Pulltrace's server where it has some.
    Pulltrace,
}

impl Family {
    /// Returns the family of paths that are no endpoint.
    pub(crate) fn of_path(path: &str) -> Self {
        let is_prometheus = path == "/api" || path.starts_with("/api/");
        if pulls::ORIGINAL.contains(&path) {
            Self::Pulltrace
        } else if is_prometheus {
            Self::Prometheus
        } else {
            Self::Native
        }
    }

    pub(crate) fn spell(self, failure: &Failure) -> Response {
        match self {
            Self::Prometheus => failure.prometheus(),
            Self::Native | Self::Segment => failure.native(),
            Self::Events => events::refuse(failure, Form::Json),
            Self::Causality => failure.causality(),
            Self::Otlp => failure.otlp(OtlpFormat::Json),
            Self::Plain => failure.plain(),
            Self::Pulltrace => failure.pulltrace(),
        }
    }
}

/// What holds for an endpoint before its handler runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) class: Class,
    pub(crate) family: Family,
}

/// A path with its handler, its rule and its description. Several endpoints may share a path with other methods.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) verbs: Vec<Verb>,
    pub(crate) rule: Rule,
    pub(crate) description: Description,
    pub(crate) handler: MethodRouter<Arc<App>>,
}

impl Endpoint {
    /// Returns an endpoint that [`Access`] and [`Class`] are given for; failures are spelt as the path suggests.
    pub(crate) fn new<H, T>(
        verb: Verb,
        path: &'static str,
        (access, class): (Access, Class),
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        Self {
            verbs: vec![verb],
            rule: Rule { path, access, class, family: Family::of_path(path) },
            description: Description::default(),
            handler: on(verb.filter(), handler),
        }
    }

    /// Returns an endpoint for `GET`, and for `POST` with the parameters as a form.
    pub(crate) fn get_or_form<H, T>(path: &'static str, rule: (Access, Class), handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let mut endpoint = Self::new(Verb::Get, path, rule, handler.clone());
        endpoint.verbs.push(Verb::Post);
        endpoint.handler = endpoint.handler.on(Verb::Post.filter(), handler);
        endpoint
    }

    /// Spells failures otherwise than the path suggests.
    pub(crate) fn family(mut self, family: Family) -> Self {
        self.rule.family = family;
        self
    }

    /// Says what the endpoint is for.
    pub(crate) fn describe(mut self, description: Description) -> Self {
        self.description = description;
        self
    }
}
