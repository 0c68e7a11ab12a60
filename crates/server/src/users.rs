//! `tinyobs users`: the people who log in, managed on the machine itself.

use access::{AccessError, Actor, NewUser, UserInfo};
use api::format_rfc3339;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::{CreateUserArgs, ListUsersArgs, SetPasswordArgs, UsersCommand};
use crate::state_command::{failure, print, print_table, read_secret, say, with_access};

/// Runs `tinyobs users …`.
pub(crate) fn run(command: UsersCommand) -> Result<(), Failure> {
    match command {
        UsersCommand::Create(args) => create(args),
        UsersCommand::List(args) => list(args),
        UsersCommand::SetPassword(args) => set_password(args),
    }
}

fn create(args: CreateUserArgs) -> Result<(), Failure> {
    let password = read_secret("password", args.password_file.as_deref())?;
    let user = with_access(args.config, |access, _clock| async move {
        let new = NewUser {
            tenant: args.tenant,
            name: args.name,
            display_name: args.display_name,
            password: Some(password),
            role: args.role,
            all_tenants: args.all_tenants,
        };
        access.create_user(&Actor::command_line(), new).await.map_err(failure)
    })?;
    say(format_args!("user {} '{}' of tenant {}: {}", user.id, user.name, user.tenant, user.role))
}

fn list(args: ListUsersArgs) -> Result<(), Failure> {
    let users = with_access(args.config, |access, _clock| async move {
        access.list_users(&Actor::command_line(), args.tenant.as_ref()).await.map_err(failure)
    })?;
    if args.json {
        let users: Vec<Value> = users.iter().map(to_json).collect();
        return print(json!({ "users": users }));
    }
    let rows: Vec<_> = users.iter().map(row).collect();
    print_table(["ID", "TENANT", "NAME", "ROLE", "LOGS IN", "LAST LOGIN"], &rows)
}

fn set_password(args: SetPasswordArgs) -> Result<(), Failure> {
    let password = read_secret("password", args.password_file.as_deref())?;
    let user = with_access(args.config, |access, _clock| async move {
        let actor = Actor::command_line();
        let users = access.list_users(&actor, None).await.map_err(failure)?;
        let Some(user) = users.into_iter().find(|user| user.name == args.name) else {
            return Err(failure(AccessError::NotFound { what: "user", id: args.name }));
        };
        access.set_password(&actor, &user.id, &password).await.map_err(failure)?;
        Ok(user)
    })?;
    say(format_args!("user {} '{}' has another password", user.id, user.name))
}

fn row(user: &UserInfo) -> [String; 6] {
    let scope = if user.all_tenants { "*" } else { "" };
    let logs_in = match (user.disabled, user.has_password, &user.oidc) {
        (true, _, _) => "no",
        (false, true, _) => "with a password",
        (false, false, Some(_)) => "at the provider",
        (false, false, None) => "no password yet",
    };
    [
        user.id.clone(),
        format!("{}{scope}", user.tenant),
        user.name.clone(),
        user.role.to_string(),
        logs_in.to_owned(),
        user.last_login_at.map_or_else(|| "never".to_owned(), format_rfc3339),
    ]
}

/// Returns what is known about a person, in the words of `/v1/users`.
fn to_json(user: &UserInfo) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "tenant": user.tenant.as_str(),
        "role": user.role.as_str(),
        "all_tenants": user.all_tenants,
        "disabled": user.disabled,
        "has_password": user.has_password,
        "oidc_issuer": user.oidc.as_ref().map(|oidc| &oidc.issuer),
        "created_at": format_rfc3339(user.created_at),
        "last_login_at": user.last_login_at.map(format_rfc3339),
    })
}
