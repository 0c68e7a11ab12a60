//! What pulls do, as scripts: what agents, kubelets and time do, and what readers see then.

mod script;

mod agents;
mod failures;
mod followers;
mod history;
mod interleavings;
mod limits;
mod names;
mod originals;
mod restarts;
