//! `tinyobs pulls`, which is also the plugin `kubectl pulls`: image pulls, and what pods wait for, in a terminal.

mod answer;
mod live;
mod screen;
mod table;
mod words;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use platform::{Clock as _, HttpStream, SystemClock};
use serde::de::DeserializeOwned;

use self::answer::{ClusterRow, NodeList, PodList, PullList};
use self::live::{Change, Live};
use self::screen::Screen;
use crate::Failure;
use crate::cli::{PullsArgs, PullsView};
use crate::client::{BACKOFF, Client, Refused, may_pass};
use crate::event_stream::EventStream;
use crate::logging::escaped;
use crate::state_command::{print, say};

/// The name of the program as a plugin of kubectl, which makes `kubectl pulls` of it.
const PLUGIN: &str = "kubectl-pulls";

const FOLLOW: &str = "/api/v1/events";
const LIVE: &str = "/api/v1/pulls";
const HISTORY: &str = "/v1/pulls";
const PODS: &str = "/v1/pulls/pods";
const NODES: &str = "/v1/pulls/nodes";

/// How often lists are asked for that nobody streams.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the table of pulls is drawn although nothing came: times go on.
const DRAW_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the arguments as those of this command where the program is called by the name of the plugin.
pub(crate) fn as_plugin(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let name = arguments.first().and_then(|first| Path::new(first).file_stem());
    if name.is_some_and(|name| name == PLUGIN) {
        arguments.insert(1, "pulls".into());
    }
    arguments
}

/// Runs `tinyobs pulls …`.
pub(crate) fn run(args: PullsArgs) -> Result<(), Failure> {
    if let Some(reason) = contradiction(&args) {
        return Err(Failure::Usage(anyhow::anyhow!(reason)));
    }
    let client = Client::new(&args.server)?;
    let on_terminal = io::stdout().is_terminal() && !args.json;
    let watches = args.watch || (on_terminal && !args.once && !args.history);
    match (args.view, watches) {
        (PullsView::Pulls, true) => {
            let out = if on_terminal { Out::Table(Screen::new()) } else { Out::Lines };
            let mut watch = Watch { client: &client, args: &args, out, last_id: None };
            client.runtime().block_on(watch.run())
        }
        (PullsView::Pulls, false) => pulls_once(&client, &args),
        (_, true) => list_again_and_again(&client, &args, on_terminal),
        (_, false) => list(&client, &args).and_then(|list| list.print(args.json)),
    }
}

/// Returns what is asked for and cannot be: a flag that does nothing would give a wrong answer.
fn contradiction(args: &PullsArgs) -> Option<&'static str> {
    let of_pulls = args.history || !args.state.is_empty();
    let of_pods = args.image.is_some() || args.namespace.is_some() || args.pod.is_some();
    match args.view {
        PullsView::Pods | PullsView::Nodes if of_pulls => {
            Some("--history and --state choose pulls: leave them out, or leave out what to show")
        }
        PullsView::Nodes if of_pods => {
            Some("nodes have neither images nor pods: only --node and --cluster choose them")
        }
        _ => None,
    }
}

fn parameters(args: &PullsArgs) -> Vec<(&'static str, String)> {
    let given = [
        ("cluster", &args.cluster),
        ("node", &args.node),
        ("image", &args.image),
        ("namespace", &args.namespace),
        ("pod", &args.pod),
    ];
    let one = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    one.chain(args.state.iter().map(|state| ("state", state.clone()))).collect()
}

fn pulls_once(client: &Client, args: &PullsArgs) -> Result<(), Failure> {
    let mut parameters = parameters(args);
    let path = if args.history {
        parameters.push(("limit", args.limit.to_string()));
        HISTORY
    } else {
        LIVE
    };
    let answer = client.get(path, &parameters)?;
    if args.json {
        return print_json(&answer);
    }
    let mut list: PullList = read(&answer)?;
    if !args.history {
        live::sort(&mut list.pulls);
    }
    let now = SystemClock::new().now();
    let rows: Vec<_> = list.pulls.iter().map(|pull| words::row(pull, now).to_vec()).collect();
    print_lines(&table::whole(&words::HEADINGS, &rows))
}

/// An answer that is printed whole.
struct List {
    answer: Bytes,
    lines: Vec<String>,
    /// What else people should know.
    notes: Vec<String>,
}

fn list(client: &Client, args: &PullsArgs) -> Result<List, Failure> {
    if args.view == PullsView::Nodes {
        let answer = client.get(NODES, &[])?;
        let list: NodeList = read(&answer)?;
        let is_wanted = |name: &String, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        let nodes = list.nodes.iter().filter(|node| {
            is_wanted(&node.node, &args.node) && is_wanted(&node.cluster, &args.cluster)
        });
        let rows: Vec<_> = nodes.map(words::node_row).collect();
        let lines = table::whole(&words::NODE_HEADINGS, &rows);
        return Ok(List { answer, lines, notes: Vec::new() });
    }
    let answer = client.get(PODS, &parameters(args))?;
    let list: PodList = read(&answer)?;
    let rows: Vec<_> = list.pods.iter().flat_map(words::pod_rows).collect();
    let lines = table::whole(&words::POD_HEADINGS, &rows);
    Ok(List {
        answer,
        lines,
        notes: list.clusters.iter().filter_map(ClusterRow::problem).collect(),
    })
}

impl List {
    fn print(&self, as_json: bool) -> Result<(), Failure> {
        self.notes.iter().try_for_each(say)?;
        if as_json { print_json(&self.answer) } else { print_lines(&self.lines) }
    }
}

fn list_again_and_again(
    client: &Client,
    args: &PullsArgs,
    on_terminal: bool,
) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let mut screen = on_terminal.then(Screen::new);
    let mut last = list(client, args)?;
    let mut lost: Option<String> = None;
    loop {
        match (&mut screen, &lost) {
            (Some(screen), _) => {
                let size = screen.size();
                let lines = lost.iter().chain(&last.notes).chain(&last.lines);
                let lines = lines.map(|line| table::cut(line, size)).collect();
                screen.draw(lines).context("write the table")?;
            }
            (None, Some(reason)) => say(reason)?,
            (None, None) => last.print(args.json)?,
        }
        client.runtime().block_on(clock.sleep_until(clock.monotonic() + ASK_INTERVAL));
        lost = match list(client, args) {
            Ok(list) => {
                last = list;
                None
            }
            // It was there once, and may be again.
            Err(Failure::Operation(error)) => {
                Some(escaped(&format!("{error:#}; trying again")).into_owned())
            }
            Err(failure) => return Err(failure),
        };
    }
}

/// Where what happens is shown.
enum Out {
    /// As a table that is drawn anew.
    Table(Screen),
    /// As a line for each change.
    Lines,
}

/// Follows pulls.
struct Watch<'a> {
    client: &'a Client,
    args: &'a PullsArgs,
    out: Out,
    /// Where to go on.
    last_id: Option<String>,
}

/// How a connection ended.
enum End {
    /// Nobody reads what is printed.
    Done,
    Lost(anyhow::Error),
}

impl Watch<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let clock = SystemClock::new();
        let mut live = Live::default();
        let mut wait = BACKOFF[0];
        let mut is_first = true;
        loop {
            let reason = match self.open().await {
                Ok(Ok(stream)) => {
                    (is_first, wait) = (false, BACKOFF[0]);
                    match self.show(stream, &mut live).await? {
                        End::Done => return Ok(()),
                        End::Lost(error) => error,
                    }
                }
                Ok(Err(refused)) if is_first || !may_pass(&refused) => return Err(refused.into()),
                Ok(Err(refused)) => refused.into(),
                Err(error) if is_first => return Err(error.into()),
                Err(error) => error,
            };
            let note = format!("{reason:#}; trying again in {} s", wait.as_secs_f64());
            match &mut self.out {
                Out::Table(screen) => {
                    let lines = live.lines(screen.size(), clock.now(), Some(&note));
                    screen.draw(lines).context("write the table")?;
                }
                Out::Lines => say(note)?,
            }
            clock.sleep_until(clock.monotonic() + wait).await;
            wait = (wait * 2).min(BACKOFF[1]);
        }
    }

    async fn open(&self) -> anyhow::Result<Result<HttpStream, Refused>> {
        self.client.follow(FOLLOW, &parameters(self.args), self.last_id.as_deref()).await
    }

    /// Shows what comes until the connection ends.
    async fn show(&mut self, mut stream: HttpStream, live: &mut Live) -> Result<End, Failure> {
        let clock = SystemClock::new();
        let mut events = EventStream::default();
        loop {
            if let Out::Table(screen) = &mut self.out {
                let lines = live.lines(screen.size(), clock.now(), None);
                screen.draw(lines).context("write the table")?;
            }
            let piece = tokio::select! {
                biased;
                piece = stream.next() => piece,
                () = clock.sleep_until(clock.monotonic() + DRAW_INTERVAL) => continue,
            };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    return Ok(End::Lost(anyhow::anyhow!("the server ended the connection")));
                }
                Err(error) => return Ok(End::Lost(error.into())),
            };
            for event in events.take(&piece).context("read the server's answer")? {
                let change = live.take(&event);
                if matches!(self.out, Out::Lines)
                    && let Err(error) = self.tell(event.data.as_deref(), change)
                {
                    return if error.kind() == io::ErrorKind::BrokenPipe {
                        Ok(End::Done)
                    } else {
                        Err(anyhow::Error::new(error).context("write what happens").into())
                    };
                }
                self.last_id = event.id.or(self.last_id.take());
            }
        }
    }

    /// Prints a change as a line.
    fn tell(&self, data: Option<&str>, change: Option<Change<'_>>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match (change, data) {
            (Some(_), Some(data)) if self.args.json => writeln!(out, "{}", escaped(data)),
            (Some(change), _) if change.is_step => writeln!(out, "{}", words::line(&change)),
            _ => Ok(()),
        }
    }
}

fn print_json(answer: &Bytes) -> Result<(), Failure> {
    // Not even a pretty printer may move the cursor.
    quiet(print(escaped(String::from_utf8_lossy(answer).trim_end())))
}

fn print_lines(lines: &[String]) -> Result<(), Failure> {
    lines.iter().try_for_each(|line| quiet(print(line)))
}

fn read<T: DeserializeOwned>(answer: &Bytes) -> Result<T, Failure> {
    Ok(serde_json::from_slice(answer).context("read the server's answer")?)
}

/// Ends quietly when whoever reads what is printed has gone, as `head` does.
fn quiet(printed: Result<(), Failure>) -> Result<(), Failure> {
    match printed {
        Err(Failure::Operation(error))
            if error.downcast_ref::<io::Error>().map(io::Error::kind)
                == Some(io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        printed => printed,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let check = |arguments: &str, is_fine: bool| {
            let words = ["tinyobs", "pulls"].into_iter().chain(arguments.split_whitespace());
            let Command::Pulls(args) = Cli::try_parse_from(words).expect("flags").command else {
                panic!("another command");
            };
            assert_eq!(contradiction(&args).is_none(), is_fine, "{arguments}");
        };
        check("--history --state failed --image a -n b --pod c --node d --cluster e", true);
        check("pods -n shop --pod a --image b --node c --cluster d", true);
        check("nodes --node a --cluster b --watch", true);
        check("pods --history", false);
        check("pods --state failed", false);
        check("nodes --state failed", false);
        check("nodes -n shop", false);
        assert!(Cli::try_parse_from(["tinyobs", "pulls", "--watch", "--history"]).is_err());
    }

    #[test]
    fn the_plugin_of_kubectl_is_this_command() {
        let check = |given: &[&str], expected: &[&str]| {
            assert_eq!(as_plugin(given.iter().map(OsString::from)), expected);
        };
        check(&["/usr/bin/kubectl-pulls", "pods"], &["/usr/bin/kubectl-pulls", "pulls", "pods"]);
        check(&["kubectl-pulls"], &["kubectl-pulls", "pulls"]);
        check(&["tinyobs", "tail"], &["tinyobs", "tail"]);
        check(&[], &[]);
    }
}
