//! `tinyobs tail`: follows the events of a running server.

mod printer;

use std::io;

use anyhow::Context as _;
use platform::{Clock as _, HttpStream, SystemClock};

use self::printer::Printer;
use crate::Failure;
use crate::cli::TailArgs;
use crate::client::{BACKOFF, Client, Refused, may_pass};
use crate::event_stream::EventStream;
use crate::state_command::say;

const PATH: &str = "/v1/events/tail";

/// Runs `tinyobs tail …`.
pub(crate) fn run(args: TailArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let mut tail = Tail {
        client: &client,
        printer: Printer::to_standard_output(args.json),
        left: args.limit,
        parameters: parameters(&args),
        follows: !args.no_follow,
        last_id: None,
    };
    client.runtime().block_on(tail.run())
}

fn parameters(args: &TailArgs) -> Vec<(&'static str, String)> {
    let mut parameters = Vec::new();
    for (name, values) in [
        ("app", &args.app),
        ("category", &args.category),
        ("type", &args.event_type),
        ("device", &args.device),
    ] {
        parameters.extend(values.iter().map(|value| (name, value.clone())));
    }
    for (name, value) in [("path", &args.path), ("from", &args.from)] {
        parameters.extend(value.iter().map(|value| (name, value.clone())));
    }
    if args.no_follow {
        parameters.push(("follow", "false".to_owned()));
    }
    parameters
}

struct Tail<'a> {
    client: &'a Client,
    printer: Printer,
    parameters: Vec<(&'static str, String)>,
    follows: bool,
    /// Events that are still to come, where that is limited.
    left: Option<u64>,
    /// Where to go on.
    last_id: Option<String>,
}

/// How a connection ended.
enum End {
    /// All that was asked for is printed, or nobody reads what is printed.
    Done,
    /// The server ended it.
    Closed,
    /// It broke.
    Broken(anyhow::Error),
}

impl Tail<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let clock = SystemClock::new();
        let mut wait = BACKOFF[0];
        let mut is_first = true;
        loop {
            let reason = match self.open().await {
                Ok(Ok(stream)) => {
                    (is_first, wait) = (false, BACKOFF[0]);
                    match self.print(stream).await? {
                        End::Done => return Ok(()),
                        End::Closed if !self.follows => return Ok(()),
                        End::Closed => anyhow::anyhow!("the server ended the connection"),
                        End::Broken(error) if !self.follows => return Err(error.into()),
                        End::Broken(error) => error,
                    }
                }
                Ok(Err(refused)) if is_first || !may_pass(&refused) => return Err(refused.into()),
                Ok(Err(refused)) => refused.into(),
                Err(error) if is_first => return Err(error.into()),
                Err(error) => error,
            };
            say(format_args!("{reason:#}; trying again in {} s", wait.as_secs_f64()))?;
            clock.sleep_until(clock.monotonic() + wait).await;
            wait = (wait * 2).min(BACKOFF[1]);
        }
    }

    async fn open(&self) -> anyhow::Result<Result<HttpStream, Refused>> {
        let mut parameters = self.parameters.clone();
        parameters.extend(self.left.map(|left| ("limit", left.to_string())));
        self.client.follow(PATH, &parameters, self.last_id.as_deref()).await
    }

    /// Prints what comes until the connection ends.
    async fn print(&mut self, mut stream: HttpStream) -> Result<End, Failure> {
        let mut events = EventStream::default();
        loop {
            let piece = match stream.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(End::Closed),
                Err(error) => return Ok(End::Broken(error.into())),
            };
            for event in events.take(&piece).context("read the server's answer")? {
                if let Some(data) = &event.data {
                    if let Err(error) = self.printer.print(data) {
                        return ended(error);
                    }
                    if event.id.is_some() {
                        self.left = self.left.map(|left| left.saturating_sub(1));
                    }
                }
                self.last_id = event.id.or(self.last_id.take());
                if self.left == Some(0) {
                    break;
                }
            }
            if let Err(error) = self.printer.flush() {
                return ended(error);
            }
            if self.left == Some(0) {
                return Ok(End::Done);
            }
        }
    }
}

/// Ends quietly when whoever reads what is printed has gone, as `head` does.
fn ended(error: io::Error) -> Result<End, Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(End::Done);
    }
    Err(Failure::Operation(anyhow::Error::new(error).context("write the events")))
}
