//! Who the provider says somebody is, and what that person may do here.

use model::TenantId;
use serde_json::{Map, Value};

use crate::jwt;
use crate::permission::Role;

/// Most groups that are looked at, and most characters of each, and of a name.
const GROUPS_MAX: usize = 1_000;
const TEXT_CHARS_MAX: usize = 256;

/// A person, as a provider describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person: unique and never reused at this provider, unlike name and address.
    pub subject: String,
    /// What to call them.
    pub name: String,
    /// Their mail address, unless the provider says that it did not check it.
    pub email: Option<String>,
    /// The values of the role claim.
    pub groups: Vec<String>,
}

impl Identity {
    /// Reads what the claims say. Names lose control characters and what is too long.
    pub(super) fn read(
        issuer: &str,
        subject: &str,
        claims: &Map<String, Value>,
        role_claim: &str,
    ) -> Self {
        let named = |claim| jwt::text(claims, claim).map(clean).filter(|text| !text.is_empty());
        let email = named("email").filter(|_| claims.get("email_verified") != Some(&false.into()));
        let name = named("preferred_username")
            .or_else(|| named("name"))
            .or_else(|| email.clone())
            .unwrap_or_else(|| clean(subject));
        let groups = match find(claims, role_claim) {
            Some(Value::String(group)) => vec![group.clone()],
            Some(Value::Array(groups)) => {
                groups.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let is_short = |group: &String| group.chars().count() <= TEXT_CHARS_MAX;
        let groups = groups.into_iter().filter(is_short).take(GROUPS_MAX).collect();
        Self { issuer: issuer.to_owned(), subject: subject.to_owned(), name, email, groups }
    }
}

fn clean(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// Finds a claim by its name, or else by its path: `realm_access.roles` is in the object `realm_access`.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut path = name.split('.');
    let first = claims.get(path.next()?)?;
    path.try_fold(first, |value, member| value.get(member))
}

/// What somebody may do where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The tenant.
    pub tenant: TenantId,
    /// Whether it holds for all tenants.
    pub all_tenants: bool,
}

/// What the members of one group may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// The value of the role claim, compared exactly.
    pub value: String,
    /// What it grants.
    pub grant: Grant,
}

/// How groups at the provider become roles here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMapping {
    /// The claim that lists groups or roles, or the path to it.
    pub claim: String,
    /// The first rule that fits counts.
    pub rules: Vec<RoleRule>,
    /// What those may do whom no rule fits; `None` refuses them.
    pub default: Option<Grant>,
}

impl RoleMapping {
    pub(super) fn grant(&self, identity: &Identity) -> Option<&Grant> {
        let rule = self.rules.iter().find(|rule| identity.groups.contains(&rule.value));
        rule.map(|rule| &rule.grant).or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &Value, role_claim: &str) -> Identity {
        let claims = claims.as_object().expect("an object");
        Identity::read("https://login.example", "u-1", claims, role_claim)
    }

    #[test]
    fn the_name_is_the_best_that_the_claims_have_without_control_characters() {
        let long = "n".repeat(300);
        for (claims, expected) in [
            (json!({"preferred_username": "ada", "name": "Ada L", "email": "a@b.c"}), "ada"),
            (json!({"preferred_username": "", "name": "Ada L", "email": "a@b.c"}), "Ada L"),
            (json!({"name": 7, "email": "a@b.c"}), "a@b.c"),
            (json!({"email": "a@b.c", "email_verified": false}), "u-1"),
            (json!({}), "u-1"),
            (json!({"name": "Ada\n\u{1b}[31m"}), "Ada[31m"),
            (json!({"name": &long}), &long[..256]),
        ] {
            assert_eq!(read(&claims, "groups").name, expected, "{claims}");
        }
        assert_eq!(read(&json!({"email": "a@b.c"}), "groups").email.as_deref(), Some("a@b.c"));
        let unchecked = json!({"email": "a@b.c", "email_verified": false});
        assert_eq!(read(&unchecked, "groups").email, None);
    }

    #[test]
    fn groups_are_read_from_a_list_a_text_or_a_path() {
        let many: Vec<String> = (0..=GROUPS_MAX).map(|number| number.to_string()).collect();
        for (claims, claim, expected) in [
            (json!({"groups": ["a", "b"]}), "groups", vec!["a", "b"]),
            (json!({"groups": "a b"}), "groups", vec!["a b"]),
            (json!({"groups": ["a", 1, null, ["b"], "c"]}), "groups", vec!["a", "c"]),
            (json!({"groups": ["x".repeat(257), "a".to_owned()]}), "groups", vec!["a"]),
            (json!({"groups": {"a": true}}), "groups", vec![]),
            (json!({"realm": {"roles": ["a"]}}), "realm.roles", vec!["a"]),
            (json!({"https://x.example/roles": ["a"]}), "https://x.example/roles", vec!["a"]),
            (json!({"realm": ["a"]}), "realm.roles", vec![]),
            (json!({}), "groups", vec![]),
            (json!({}), "", vec![]),
        ] {
            assert_eq!(read(&claims, claim).groups, expected, "{claims}");
        }
        assert_eq!(read(&json!({ "groups": many }), "groups").groups.len(), GROUPS_MAX);
    }

    #[test]
    fn the_first_rule_that_fits_counts_then_the_default_then_nobody_comes_in() {
        let grant = |role, tenant: &str| Grant {
            role,
            tenant: TenantId::new(tenant).expect("a tenant"),
            all_tenants: false,
        };
        let rule = |value: &str, grant: Grant| RoleRule { value: value.to_owned(), grant };
        let mut mapping = RoleMapping {
            claim: "groups".to_owned(),
            rules: vec![
                rule("operators", grant(Role::Editor, "a")),
                rule("staff", grant(Role::Viewer, "b")),
            ],
            default: None,
        };
        let role_of = |mapping: &RoleMapping, groups: &[&str]| {
            let identity = read(&json!({ "groups": groups }), "groups");
            mapping.grant(&identity).map(|grant| (grant.role, grant.tenant.to_string()))
        };
        let editor = Some((Role::Editor, "a".to_owned()));
        assert_eq!(role_of(&mapping, &["staff", "operators"]), editor);
        assert_eq!(role_of(&mapping, &["staff"]), Some((Role::Viewer, "b".to_owned())));
        assert_eq!(role_of(&mapping, &["Staff", "staff "]), None);
        assert_eq!(role_of(&mapping, &[]), None);
        mapping.default = Some(grant(Role::Viewer, "c"));
        assert_eq!(role_of(&mapping, &["others"]), Some((Role::Viewer, "c".to_owned())));
    }
}
