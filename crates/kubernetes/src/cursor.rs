//! Where a list or a watch is: what to ask the server next.

use crate::fault::FaultKind;

/// What to ask next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A page of a list: the first, or the one after a page that ended with `token`.
    List { token: Option<String> },
    /// What happens after `version`.
    Watch { version: String },
}

/// Goes from list to watch and back, as the [API](https://kubernetes.io/docs/reference/using-api/api-concepts/) wants it: a
/// list in pages, then watches, each from where the one before ended, and a list again once the server has forgotten that.
#[derive(Debug)]
pub(crate) struct Cursor {
    next: Request,
}

impl Cursor {
    pub(crate) fn new() -> Self {
        Self { next: Request::List { token: None } }
    }

    pub(crate) fn next(&self) -> &Request {
        &self.next
    }

    /// Takes the end of a page: the token of the next one, if there is one, and the version of the list. Returns whether the
    /// list is complete; it begins anew when it has neither.
    pub(crate) fn page_ended(&mut self, token: Option<String>, version: Option<String>) -> bool {
        let token = token.filter(|token| !token.is_empty());
        let version = version.filter(|version| !version.is_empty());
        self.next = match (token, version) {
            (Some(token), _) => Request::List { token: Some(token) },
            (None, Some(version)) => Request::Watch { version },
            (None, None) => Request::List { token: None },
        };
        matches!(self.next, Request::Watch { .. })
    }

    /// Takes the version of what a watch said, a bookmark included.
    pub(crate) fn seen(&mut self, version: Option<&str>) {
        if let (Request::Watch { version: at }, Some(seen)) = (&mut self.next, version)
            && !seen.is_empty()
        {
            seen.clone_into(at);
        }
    }

    /// Takes a failure. A list begins anew: pages after a failure may be of another list. A watch goes on where it was.
    pub(crate) fn failed(&mut self, kind: FaultKind) {
        if kind == FaultKind::Gone || matches!(self.next, Request::List { .. }) {
            self.next = Request::List { token: None };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(token: Option<&str>) -> Request {
        Request::List { token: token.map(str::to_owned) }
    }

    fn watch(version: &str) -> Request {
        Request::Watch { version: version.to_owned() }
    }

    #[test]
    fn pages_lead_to_a_watch_that_goes_on_where_it_was() {
        let mut cursor = Cursor::new();
        assert_eq!(*cursor.next(), list(None));
        assert!(!cursor.page_ended(Some("t".to_owned()), Some("7".to_owned())));
        assert_eq!(*cursor.next(), list(Some("t")));
        assert!(cursor.page_ended(Some(String::new()), Some("7".to_owned())));
        assert_eq!(*cursor.next(), watch("7"));
        cursor.seen(Some("9"));
        cursor.seen(Some(""));
        cursor.seen(None);
        assert_eq!(*cursor.next(), watch("9"));
        cursor.failed(FaultKind::Other);
        assert_eq!(*cursor.next(), watch("9"));
    }

    #[test]
    fn what_is_gone_is_listed_again_and_so_is_a_list_that_failed() {
        let mut cursor = Cursor::new();
        cursor.page_ended(None, Some("7".to_owned()));
        cursor.failed(FaultKind::Gone);
        assert_eq!(*cursor.next(), list(None));
        cursor.page_ended(Some("t".to_owned()), None);
        cursor.failed(FaultKind::Other);
        assert_eq!(*cursor.next(), list(None));
        assert!(!cursor.page_ended(None, None));
        assert_eq!(*cursor.next(), list(None));
    }
}
