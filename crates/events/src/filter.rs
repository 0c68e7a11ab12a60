//! Which events somebody wants to see.

mod path;

use model::TenantId;

use crate::TailEvent;

pub use path::{JsonPath, PATH_BYTES_MAX, PathError};

/// Which events somebody wants to see: those of a tenant for which every list that is not empty names theirs.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Whose.
    pub tenant: TenantId,
    /// Of which apps; empty for all.
    pub apps: Vec<String>,
    /// Of which categories, such as `screen`; empty for all.
    pub categories: Vec<String>,
    /// Of which types, such as `view`; empty for all.
    pub types: Vec<String>,
    /// From which devices; empty for all.
    pub devices: Vec<String>,
    /// What must be in the JSON form of the event.
    pub path: Option<JsonPath>,
}

impl EventFilter {
    /// Returns the filter that lets all events of a tenant through.
    #[must_use]
    pub const fn all(tenant: TenantId) -> Self {
        Self {
            tenant,
            apps: Vec::new(),
            categories: Vec::new(),
            types: Vec::new(),
            devices: Vec::new(),
            path: None,
        }
    }

    /// Returns whether an event is wanted. Its JSON form is made only for a path, and only if all else fits.
    #[must_use]
    pub fn admits(&self, event: &TailEvent) -> bool {
        let any = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|candidate| candidate == name)
        };
        event.tenant == self.tenant
            && any(&self.apps, &event.app)
            && any(&self.categories, event.category)
            && any(&self.types, &event.event_type)
            && any(&self.devices, &event.device)
            && self.path.as_ref().is_none_or(|path| {
                // What we wrote ourselves reads back.
                serde_json::from_str(event.json()).is_ok_and(|value| path.selects(&value))
            })
    }
}
