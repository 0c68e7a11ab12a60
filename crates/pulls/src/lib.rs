//! Image pulls: reports of agents become pulls with rates, estimates and ends; pods that wait are told what for; what ended is
//! kept in the state database.

mod cluster;
mod view;

pub use cluster::{
    Connection, Container, ContainerKind, ContainerState, ImageEvent, ImageEventReason, Owner, Pod,
    PodReference,
};
pub use view::{FailureSource, LayerView, PullFailure, PullState, PullView};
