//! Image pulls: what agents report, and what readers see of it. `docs/pulls-api.md` describes the routes.

mod filter;
mod frame;
mod lists;
mod report;
mod stream;
mod wire;

use access::Permission;

use self::frame::PullEvent;
use self::lists::{ImageList, NodeList, PodList, PullList, PullPage};
use self::wire::PullStatus;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::openapi::{Description, Kind, Parameter, Place};

const REPORT: &str = "/api/v1/report";
const LIVE: &str = "/api/v1/pulls";
const FOLLOW: &str = "/api/v1/events";
/// The routes that Pulltrace's server has, too.
pub(crate) const ORIGINAL: [&str; 3] = [REPORT, LIVE, FOLLOW];

/// Who may see pulls.
const READ: Access = Access::Needs(Permission::PullsRead);
/// Who may report them.
const WRITE: Access = Access::Needs(Permission::PullsWrite);

/// What an agent says of its node. Whoever reads it is tolerant: `report` has the rules.
#[derive(utoipa::ToSchema)]
#[schema(as = AgentReport)]
#[expect(dead_code, reason = "describes what the crate report reads")]
struct AgentReport {
    /// The node; 1 to 253 bytes.
    #[schema(rename = "nodeName")]
    node_name: String,
    /// RFC 3339, by the agent's clock.
    timestamp: String,
    /// As docs/schemas/agent-report-v1.json describes them.
    #[schema(value_type = Option<Vec<Object>>)]
    pulls: Option<Vec<serde_json::Value>>,
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let about = |summary| Description::new("pulls", summary);
    let query = (READ, Class::Query);
    vec![
        Endpoint::new(Verb::Post, REPORT, (WRITE, Class::Report), report::take).describe(
            about("Take what an agent says of the pulls on its node")
                .details(
                    "As Pulltrace's agents send it, and more; docs/schemas/agent-report-v1.json describes it. It may be \
                     compressed with gzip. Here the key may stand in Authorization without the word Bearer.",
                )
                .takes::<AgentReport>()
                .answers_nothing(200, "It counts from now on."),
        ),
        Endpoint::new(Verb::Get, LIVE, query, lists::live).describe(
            filter::describe(about("List all pulls in memory, as Pulltrace does"))
                .answers::<PullList<'_>>("The pulls that run, and those that ended not long ago."),
        ),
        Endpoint::new(Verb::Get, FOLLOW, (READ, Class::Live), stream::follow).describe(
            filter::describe(about("Follow pulls as server-sent events"))
                .details(
                    "Messages without a name hold a PullEvent, docs/schemas/pull-event-v1.json: first what last \
                     happened to each pull that is known, then what happens. `removed` tells the `id` of a pull that is forgotten, `resync` that \
                     everything is told anew.",
                )
                .query("layers", Kind::Boolean, "Whether to tell of layers, too; false by default.")
                .parameter(Parameter {
                    name: "Last-Event-ID",
                    details: "The last id that was received: goes on behind it.",
                    place: Place::Header { required: false },
                    kind: Kind::Text,
                })
                .answers_items::<PullEvent<'_>>("text/event-stream", "The events, as they happen."),
        ),
        Endpoint::new(Verb::Get, "/v1/pulls", query, lists::page).describe(
            filter::describe(about("List pulls, those of the history included"))
                .query("since", Kind::Text, "That began at this time or later, RFC 3339.")
                .query("until", Kind::Text, "That began before this time, RFC 3339.")
                .query("limit", Kind::Integer, "Pulls of this page, 1 to 1000; 100 by default.")
                .query("cursor", Kind::Text, "`nextCursor` of the page before.")
                .answers::<PullPage<'_>>("The pulls."),
        ),
        Endpoint::new(Verb::Get, "/v1/pulls/{id}", query, lists::one).describe(
            about("Show a pull")
                .path("id", "The pull.")
                .answers::<PullStatus<'_>>("The pull.")
                .refuses(404),
        ),
        Endpoint::new(Verb::Get, "/v1/pulls/images", query, lists::images).describe(
            filter::describe(about("Show how far images are, over all nodes"))
                .answers::<ImageList<'_>>("The images of the pulls in memory."),
        ),
        Endpoint::new(Verb::Get, "/v1/pulls/nodes", query, lists::nodes).describe(
            about("List the nodes and how their agents are")
                .answers::<NodeList<'_>>("The nodes."),
        ),
        Endpoint::new(Verb::Get, "/v1/pulls/pods", query, lists::pods).describe(
            about("List the pods that wait for images, and what for")
                .query("cluster", Kind::Text, "Of this cluster, exactly.")
                .query("node", Kind::Text, "On this node, exactly.")
                .query("namespace", Kind::Text, "Of this namespace, exactly.")
                .query("pod", Kind::Text, "With this in the name, in any case.")
                .query("image", Kind::Text, "That wait for images with this in the name, in any case.")
                .answers::<PodList<'_>>("The pods, and whether their clusters are followed."),
        ),
    ]
}
