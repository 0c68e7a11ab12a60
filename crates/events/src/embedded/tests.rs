//! The embedded log on a simulated disk.

mod client;
mod crash;
mod engine;
mod failures;
mod limits;
mod removal;
mod slow;
mod undecodable;

use engine::engine;

crate::event_log_contract!(engine);
crate::consumer_contract!(engine);
crate::dead_letter_contract!(engine);
crate::worker_contract!(engine);
