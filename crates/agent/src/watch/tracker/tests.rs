//! Pulls as containerd shows them, step by step.
