//! Which events somebody wants to see.

mod path;

pub use path::{JsonPath, PATH_BYTES_MAX, PathError};
