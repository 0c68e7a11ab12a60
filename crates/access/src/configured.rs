//! Keys that the configuration names: they are in no database, and nobody can revoke them but whoever configures.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::directory::{KeyGrant, LastUse};
use crate::failure::AccessError;
use crate::permission::Role;
use crate::principal::{Principal, PrincipalKind};
use crate::quota::KeyLimits;
use crate::secret::{self, SecretHash};

/// Shortest and longest token of agents, in bytes. Pulltrace's are any text; what somebody can guess is none.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// Most tokens of agents: the one in use, and those before and after it while they are exchanged.
const TOKENS_MAX: usize = 8;

/// The keys of the configuration.
#[derive(Debug, Default)]
pub(crate) struct ConfiguredKeys(Vec<(SecretHash, Arc<KeyGrant>)>);

impl ConfiguredKeys {
    /// Returns the first administrator's key and the tokens of agents, checked.
    ///
    /// # Errors
    ///
    /// One is known to everybody, or not of the form.
    pub(crate) fn new(
        bootstrap: Option<&SecretString>,
        agents: &[SecretString],
    ) -> Result<Self, AccessError> {
        let mut keys = Vec::new();
        if let Some(key) = bootstrap {
            keys.push(bootstrap_key(key.expose_secret())?);
        }
        if agents.len() > TOKENS_MAX {
            return Err(unfit("agent token", "is one of more than eight"));
        }
        for (index, token) in agents.iter().enumerate() {
            keys.push(agent_token(token.expose_secret(), index + 1)?);
        }
        Ok(Self(keys))
    }

    /// Returns what a presented key gives, if it is one of these. They are looked up by hash: see [`crate::secret`].
    pub(crate) fn key(&self, presented: &str) -> Option<&Arc<KeyGrant>> {
        if self.0.is_empty() || presented.len() > *TOKEN_BYTES.end() {
            return None;
        }
        let hash = SecretHash::of(presented);
        self.0.iter().find(|(known, _)| *known == hash).map(|(_, grant)| grant)
    }

    /// Returns the key with an identifier.
    pub(crate) fn with_id(&self, id: &str) -> Option<&Arc<KeyGrant>> {
        self.0.iter().map(|(_, grant)| grant).find(|grant| *grant.id == *id)
    }

    /// Returns whether one opens everything.
    pub(crate) fn opens_everything(&self) -> bool {
        self.0.iter().any(|(_, grant)| grant.principal.all_tenants)
    }
}

fn bootstrap_key(key: &str) -> Result<(SecretHash, Arc<KeyGrant>), AccessError> {
    if !secret::is_well_formed(key) {
        return Err(unfit("bootstrap key", "must have 64 lower-case hexadecimal digits"));
    }
    if secret::is_well_known(key) {
        return Err(unfit("bootstrap key", "is one that everybody knows"));
    }
    Ok((SecretHash::of(key), grant("bootstrap".into(), Principal::anonymous())))
}

fn agent_token(token: &str, number: usize) -> Result<(SecretHash, Arc<KeyGrant>), AccessError> {
    if !TOKEN_BYTES.contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "must have 16 to 512 printable ASCII characters without spaces";
        return Err(unfit("agent token", reason));
    }
    if secret::is_well_known(token) {
        return Err(unfit("agent token", "is one that everybody knows"));
    }
    let principal = Principal {
        all_tenants: false,
        permissions: Role::Agent.permissions(),
        ..Principal::anonymous()
    };
    Ok((SecretHash::of(token), grant(format!("agent-token-{number}").into(), principal)))
}

fn grant(id: Arc<str>, principal: Principal) -> Arc<KeyGrant> {
    let kind = PrincipalKind::Key { id: Arc::clone(&id) };
    Arc::new(KeyGrant {
        principal: Principal { kind, name: Arc::clone(&id), ..principal },
        limits: Arc::new(KeyLimits::default()),
        id,
        expires_at: None,
        revoked_at: None,
        used: Arc::new(LastUse::new(None)),
    })
}

const fn unfit(which: &'static str, reason: &'static str) -> AccessError {
    AccessError::ConfiguredKey { which, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[&str], expected: Result<usize, &str>) {
        let tokens: Vec<SecretString> = tokens.iter().map(|token| (*token).into()).collect();
        let keys = ConfiguredKeys::new(None, &tokens);
        let found = keys.as_ref().map(|keys| keys.0.len()).map_err(ToString::to_string);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{tokens:?}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_token_of_agents_is_any_text_that_nobody_guesses() {
        check(&["a-token-of-Pulltrace"], Ok(1));
        check(&["0123456789abcdef", "fedcba9876543210"], Ok(2));
        check(&["short"], Err("16 to 512"));
        check(&[&"x".repeat(513)], Err("16 to 512"));
        check(&["a token with spaces"], Err("without spaces"));
        check(&[&"a".repeat(32)], Err("everybody knows"));
        check(&["0123456789abcdef"; 9], Err("more than eight"));
    }

    #[test]
    fn a_token_of_agents_reports_pulls_and_nothing_else() {
        let token = "a-token-of-Pulltrace";
        let keys = ConfiguredKeys::new(None, &[token.into()]).expect("keys");
        let grant = keys.key(token).expect("the token");
        assert_eq!(grant.principal.permissions, Role::Agent.permissions());
        assert!(!grant.principal.all_tenants && !keys.opens_everything());
        assert_eq!(*grant.id, *"agent-token-1");
        assert!(keys.with_id("agent-token-1").is_some() && keys.with_id("agent-token-2").is_none());
        assert!(keys.key("a-token-of-Pulltracf").is_none() && keys.key("").is_none());
    }
}
