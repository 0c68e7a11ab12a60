//! The keys of `auth.oidc` and `auth.certificates`: what people and certificates may do.

use access::{CertificateRule, Grant, OidcConfig, Role, RoleMapping, RoleRule};
use model::TenantId;
use serde::Deserialize;

use super::layers::Reader;

/// Where the provider sends the browser back to, behind the address that browsers know us by.
const CALLBACK_PATH: &str = "/v1/login/oidc/callback";

/// Reads the login at an OpenID Connect provider; `None` when there is none.
pub(super) fn read_oidc(reader: &mut Reader<'_>) -> Option<OidcConfig> {
    // Read in any case: the secret must be known as one, and mistakes be reported together.
    let client_secret = reader.secret("auth.oidc.client_secret");
    let roles = read_roles(reader);
    let userinfo = reader.boolean("auth.oidc.userinfo");
    let scopes = reader.list("auth.oidc.scopes");
    let client_id = reader.text("auth.oidc.client_id");
    if reader.text("auth.oidc.issuer").is_empty() {
        if !client_id.is_empty() {
            reader.mistake("auth.oidc.issuer", "must be given for a login at a provider");
        }
        return None;
    }
    if client_id.is_empty() {
        reader.mistake("auth.oidc.client_id", "must be given for a login at a provider");
    }
    if roles.rules.is_empty() && roles.default.is_none() {
        let message = "must name who may come in, or auth.oidc.default_role what everybody may do";
        reader.mistake("auth.oidc.roles", message);
    }
    let redirect_url = url(reader, "auth.oidc.redirect_url");
    if !reader.text("auth.oidc.redirect_url").ends_with(CALLBACK_PATH) {
        let message = format!("must end with {CALLBACK_PATH}");
        reader.mistake("auth.oidc.redirect_url", &message);
    }
    Some(OidcConfig {
        name: reader.text("auth.oidc.name"),
        issuer: url(reader, "auth.oidc.issuer")?,
        client_id,
        client_secret,
        redirect_url: redirect_url?,
        scopes,
        userinfo,
        roles,
    })
}

/// Reads what the holders of client certificates may do.
pub(super) fn read_certificates(reader: &mut Reader<'_>) -> Vec<CertificateRule> {
    let rules: Vec<Certificate> = reader.list("auth.certificates");
    rules.into_iter().map(|Certificate(rule)| rule).collect()
}

/// An entry of `auth.certificates`, checked.
#[derive(Deserialize)]
#[serde(try_from = "RawCertificate")]
struct Certificate(CertificateRule);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    name: String,
    role: String,
    #[serde(default = "default_tenant")]
    tenant: String,
    #[serde(default)]
    all_tenants: bool,
}

impl TryFrom<RawCertificate> for Certificate {
    type Error = String;

    fn try_from(raw: RawCertificate) -> Result<Self, String> {
        let grant = grant(&raw.role, &raw.tenant, raw.all_tenants)?;
        Ok(Self(CertificateRule { name: raw.name, grant }))
    }
}

fn url<T: std::str::FromStr<Err = access::UrlError>>(
    reader: &mut Reader<'_>,
    path: &str,
) -> Option<T> {
    match reader.text(path).parse() {
        Ok(url) => Some(url),
        Err(error) => {
            reader.mistake(path, &error.to_string());
            None
        }
    }
}

fn read_roles(reader: &mut Reader<'_>) -> RoleMapping {
    let rules: Vec<Rule> = reader.list("auth.oidc.roles");
    let default_role = reader.text("auth.oidc.default_role");
    let tenant = reader.text("auth.oidc.default_tenant");
    let default = match grant(&default_role, &tenant, false) {
        _ if default_role.is_empty() => None,
        Ok(grant) => Some(grant),
        Err(message) => {
            reader.mistake("auth.oidc.default_role", &message);
            None
        }
    };
    let rules = rules.into_iter().map(|Rule(rule)| rule).collect();
    RoleMapping { claim: reader.text("auth.oidc.role_claim"), rules, default }
}

/// An entry of `auth.oidc.roles`, checked.
#[derive(Deserialize)]
#[serde(try_from = "RawRule")]
struct Rule(RoleRule);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    value: String,
    role: String,
    #[serde(default = "default_tenant")]
    tenant: String,
    #[serde(default)]
    all_tenants: bool,
}

impl TryFrom<RawRule> for Rule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Self, String> {
        let grant = grant(&raw.role, &raw.tenant, raw.all_tenants)?;
        Ok(Self(RoleRule { value: raw.value, grant }))
    }
}

fn default_tenant() -> String {
    TenantId::DEFAULT.to_owned()
}

fn grant(role: &str, tenant: &str, all_tenants: bool) -> Result<Grant, String> {
    let role: Role = role.parse().map_err(|error: access::UnknownName| error.to_string())?;
    let tenant = TenantId::new(tenant).map_err(|error| error.to_string())?;
    Ok(Grant { role, tenant, all_tenants })
}
