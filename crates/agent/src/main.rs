//! The program `tinyobs-agent`.

fn main() {}
