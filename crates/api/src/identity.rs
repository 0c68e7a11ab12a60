//! Who sends a request, by its credentials.

use std::sync::Arc;

use access::Principal;
use http::HeaderMap;

use crate::failure::Failure;

/// How the server knows who sends a request.
#[derive(Clone, Debug)]
pub enum Identity {
    /// It does not ask: everybody is this principal.
    Open(Arc<Principal>),
}

impl Identity {
    /// Returns who sends a request with these headers.
    pub(crate) fn of(&self, _headers: &HeaderMap) -> Result<Arc<Principal>, Failure> {
        match self {
            Self::Open(principal) => Ok(Arc::clone(principal)),
        }
    }
}
