//! The state database: what people configure and what must be remembered about it.
