//! The contract of all engines.

use std::fmt;

use bytes::Bytes;
use events::contract::{DeadLetterEngine, Engine};
use events::{
    DeadLetters, EventLog, consumer_contract, dead_letter_contract, event_log_contract,
    worker_contract,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use platform::Clock;

use super::*;
use crate::testing::NatsServer;

/// A log on a server of its own.
struct JetStreamEngine {
    server: NatsServer,
    stream: JetStream,
    /// Whether a restart is one of the server, too.
    server_restarts: bool,
}

impl fmt::Debug for JetStreamEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl Engine for JetStreamEngine {
    fn log(&self) -> Arc<dyn EventLog> {
        self.stream.log.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        SystemClock::new()
    }

    fn restart(&mut self) -> BoxFuture<'_, ()> {
        async {
            self.stream.log.close(PATIENCE).await;
            if self.server_restarts {
                self.server.stop();
                self.server.restart();
            }
            self.stream = open(settings(&self.server.url())).await;
        }
        .boxed()
    }

    fn advance(&self, step: Duration) -> BoxFuture<'_, ()> {
        tokio::time::sleep(step).boxed()
    }
}

impl DeadLetterEngine for JetStreamEngine {
    /// An acknowledgement that is under way when the log is closed can be lost, and delivers its entry again: ADR 15.
    fn delivers_settled_again(&self) -> bool {
        true
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.stream.dead_letters.clone()
    }

    fn plant(&mut self, bytes: Bytes) -> BoxFuture<'_, ()> {
        async move {
            let client = async_nats::connect(self.server.url()).await.expect("a connection");
            let context = async_nats::jetstream::new(client);
            let sent = context.publish("events.shop.user.login", bytes).await.expect("sent");
            sent.await.expect("stored");
        }
        .boxed()
    }
}

async fn engine() -> Option<JetStreamEngine> {
    let server = NatsServer::start()?;
    let stream = open(settings(&server.url())).await;
    Some(JetStreamEngine { server, stream, server_restarts: true })
}

/// A server that ends can forget what consumers acknowledged shortly before, and delivers that again: allowed, but not
/// what these contracts look for. The tests of failures restart it under consumers.
async fn engine_on_a_lasting_server() -> Option<JetStreamEngine> {
    Some(JetStreamEngine { server_restarts: false, ..engine().await? })
}

event_log_contract!(optional engine);
consumer_contract!(optional engine_on_a_lasting_server);
dead_letter_contract!(optional engine);
worker_contract!(optional engine_on_a_lasting_server);
