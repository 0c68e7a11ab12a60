//! Who may do what, and how much.
//!
//! A request's credentials become a [`Principal`]: a tenant and a [`PermissionSet`]. Routes name the [`Permission`]
//! that they need; nothing else decides.

mod address;
mod audit;
mod certificate;
mod configured;
mod directory;
mod failure;
mod identifier;
mod jwt;
mod manager;
mod oidc;
mod password;
mod permission;
mod principal;
mod quota;
mod rate;
mod records;
mod rows;
mod secret;
mod throttle;
mod usage;

pub use address::{
    Client, ClientKey, ForwardedHeader, Scheme, TrustedProxies, TrustedProxiesError,
};
pub use audit::{AUDIT_PAGE_MAX, AuditEntry, AuditPage, AuditQuery, NewAuditEntry, Outcome};
pub use certificate::CertificateRule;
pub use directory::{CredentialError, Directory, KeyGrant, SessionGrant, Tenant};
pub use failure::{AccessError, LoginError, RowError};
pub use jwt::TokenError;
pub use manager::{Access, AccessSettings, LoginOrigin};

pub use oidc::{
    Grant, Identity, Issuer, Oidc, OidcConfig, OidcError, OidcLogin, OidcStart, ReturnPath,
    ReturnPathError, RoleMapping, RoleRule, SecureUrl, UrlError,
};
pub use password::{
    PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, PasswordCheck, PasswordError, PasswordHasher,
};
pub use permission::{Permission, PermissionSet, Role, UnknownName};
pub use principal::{Principal, PrincipalKind};
pub use quota::{KeyLimits, LimitsError, Refusal, RefusalReason, TenantLimits, Unit};
pub use rate::{Exceeded, KeyedLimiter, Limiter, RateLimit, RateLimitError};
pub use records::{
    Actor, CreatedKey, KeyInfo, LoggedIn, NewKey, NewTenant, NewUser, OidcSubject, SessionInfo,
    TenantChange, UserChange, UserInfo,
};
pub use usage::{
    Day, DaySum, Demand, KeyUsage, Meters, MetersFull, Now, Paying, QueryCharge, TenantUsage,
    UsageKind, UsageReport, WriteCharge,
};
