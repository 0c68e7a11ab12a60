//! Client certificates: what their holders may do.

use crate::oidc::Grant;
use crate::principal::{Principal, PrincipalKind};

/// What the holders of certificates may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// The subject's common name, upper and lower case apart; a `*` at its end stands for any rest.
    pub name: String,
    /// What the certificate grants.
    pub grant: Grant,
}

impl CertificateRule {
    fn fits(&self, common_name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => common_name.starts_with(beginning),
            None => common_name == self.name,
        }
    }
}

/// Returns who shows a certificate with this common name: the first rule that fits counts.
pub(crate) fn principal(rules: &[CertificateRule], common_name: &str) -> Option<Principal> {
    let CertificateRule { grant, .. } = rules.iter().find(|rule| rule.fits(common_name))?;
    Some(Principal {
        kind: PrincipalKind::Certificate { name: common_name.into() },
        name: common_name.into(),
        tenant: grant.tenant.clone(),
        all_tenants: grant.all_tenants,
        app: None,
        permissions: grant.role.permissions(),
    })
}

#[cfg(test)]
mod tests {
    use model::TenantId;

    use super::*;
    use crate::permission::Role;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rule = |name: &str, role| {
            let grant = Grant { role, tenant: TenantId::default_tenant(), all_tenants: false };
            CertificateRule { name: name.to_owned(), grant }
        };
        let rules =
            [rule("node-1", Role::Admin), rule("node-*", Role::Agent), rule("ops", Role::Viewer)];
        for (name, expected) in [
            ("node-1", Some(Role::Admin)),
            ("node-2", Some(Role::Agent)),
            ("node-", Some(Role::Agent)),
            ("node", None),
            ("Node-2", None),
            ("x-node-2", None),
            ("ops", Some(Role::Viewer)),
            ("ops2", None),
            ("", None),
        ] {
            let found = principal(&rules, name).map(|principal| principal.permissions);
            assert_eq!(found, expected.map(Role::permissions), "{name}");
        }
    }
}
