//! `tinyobs keys`: API keys, managed on the machine itself.

use access::{Access, Actor, CreatedKey, KeyInfo, KeyLimits, NewKey, PermissionSet, Role};
use api::format_rfc3339;
use model::{TenantId, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::{CreateKeyArgs, KeysCommand, ListKeysArgs, RevokeKeyArgs, RotateKeyArgs};
use crate::state_command::{failure, print, print_table, say, with_access};

/// Runs `tinyobs keys …`.
pub(crate) fn run(command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Create(args) => create(args),
        KeysCommand::List(args) => list(args),
        KeysCommand::Rotate(args) => rotate(args),
        KeysCommand::Revoke(args) => revoke(args),
    }
}

fn create(args: CreateKeyArgs) -> Result<(), Failure> {
    let permissions = args
        .role
        .map_or(PermissionSet::NONE, Role::permissions)
        .union(PermissionSet::of(&args.scopes));
    let created = with_access(args.config, |access, clock| async move {
        let expires_at = args.expires.map(|after| {
            clock.now().saturating_add_millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
        });
        let new = NewKey {
            tenant: args.tenant,
            app: args.app,
            name: args.name,
            permissions,
            all_tenants: args.all_tenants,
            limits: KeyLimits::default(),
            expires_at,
        };
        access.create_key(&Actor::command_line(), new).await.map_err(failure)
    })?;
    print_created(&created, args.json)
}

fn rotate(args: RotateKeyArgs) -> Result<(), Failure> {
    let (old, created) = with_access(args.config, |access, _clock| async move {
        let actor = Actor::command_line();
        let created = access.rotate_key(&actor, &args.id, args.overlap).await.map_err(failure)?;
        let old = access.get_key(&actor, &args.id).await.map_err(failure)?;
        Ok((old, created))
    })?;
    print_created(&created, args.json)?;
    say(format_args!("key {} ends {}", old.id, optional(old.expires_at, "never")))
}

/// Prints the key alone on standard output, so that it can be sent on into a file.
fn print_created(created: &CreatedKey, as_json: bool) -> Result<(), Failure> {
    let CreatedKey { info, secret } = created;
    if as_json {
        let mut answer = to_json(info);
        answer["key"] = secret.expose_secret().into();
        return print(answer);
    }
    print(secret.expose_secret())?;
    say(format_args!(
        "key {} '{}' of tenant {}: {}; expires {}. It cannot be shown again.",
        info.id,
        info.name,
        info.tenant,
        permissions(info.permissions),
        optional(info.expires_at, "never"),
    ))
}

fn list(args: ListKeysArgs) -> Result<(), Failure> {
    let keys = with_access(args.config, |access, clock| async move {
        let tenants = match args.tenant {
            Some(tenant) => vec![tenant],
            None => all_tenants(&access),
        };
        let mut keys = Vec::new();
        for tenant in tenants {
            let found = access.list_keys(&Actor::command_line(), &tenant).await;
            keys.extend(found.map_err(failure)?);
        }
        let now = clock.now();
        keys.retain(|key| args.all || !has_ended(key, now));
        Ok(keys)
    })?;
    if args.json {
        let keys: Vec<Value> = keys.iter().map(to_json).collect();
        return print(json!({ "keys": keys }));
    }
    let rows: Vec<_> = keys.iter().map(row).collect();
    let headings = ["ID", "TENANT", "NAME", "ALLOWS", "CREATED", "ENDS", "LAST USED"];
    print_table(headings, &rows)
}

fn revoke(args: RevokeKeyArgs) -> Result<(), Failure> {
    let revoked = with_access(args.config, |access, _clock| async move {
        access.revoke_key(&Actor::command_line(), &args.id).await.map_err(failure)
    })?;
    say(format_args!("key {} '{}' opens nothing any more", revoked.id, revoked.name))
}

fn all_tenants(access: &Access) -> Vec<TenantId> {
    access.directory().tenants().iter().map(|tenant| tenant.id.clone()).collect()
}

fn has_ended(key: &KeyInfo, now: Timestamp) -> bool {
    key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= now)
}

fn row(key: &KeyInfo) -> [String; 7] {
    let scope = if key.all_tenants { "*" } else { "" };
    [
        key.id.clone(),
        format!("{}{scope}", key.tenant),
        key.name.clone(),
        permissions(key.permissions),
        format_rfc3339(key.created_at),
        match key.revoked_at {
            Some(at) => format!("revoked {}", format_rfc3339(at)),
            None => optional(key.expires_at, "never"),
        },
        optional(key.last_used_at, "never"),
    ]
}

fn permissions(set: PermissionSet) -> String {
    let role = Role::ALL.into_iter().find(|role| role.permissions() == set);
    role.map_or_else(
        || set.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(" "),
        |role| role.to_string(),
    )
}

fn optional(time: Option<Timestamp>, none: &str) -> String {
    time.map_or_else(|| none.to_owned(), format_rfc3339)
}

/// Returns what is known about a key, in the words of `/v1/keys`.
fn to_json(key: &KeyInfo) -> Value {
    let permissions: Vec<&str> = key.permissions.iter().map(|one| one.as_str()).collect();
    let limits: Value = serde_json::from_str(&key.limits.to_json()).unwrap_or_default();
    json!({
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant.as_str(),
        "app": key.app,
        "permissions": permissions,
        "all_tenants": key.all_tenants,
        "limits": limits,
        "created_at": format_rfc3339(key.created_at),
        "created_by": key.created_by,
        "expires_at": key.expires_at.map(format_rfc3339),
        "revoked_at": key.revoked_at.map(format_rfc3339),
        "replaced_by": key.replaced_by,
        "last_used_at": key.last_used_at.map(format_rfc3339),
    })
}
