//! The embedded log on a simulated disk.

mod engine;

use engine::engine;

crate::event_log_contract!(engine);
