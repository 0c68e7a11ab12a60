//! What the services promise, on SQLite and on PostgreSQL.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use platform::{SimClock, SystemClock, SystemFs};
use secrecy::{ExposeSecret as _, SecretString};
use state::{Database, PostgresCluster, StateUrl};
use tokio::sync::watch;

use super::*;
use crate::directory::CredentialError;
use crate::failure::LoginError;
use crate::oidc::{Grant, Identity};
use crate::permission::Role;
use crate::principal::PrincipalKind;
use crate::quota::{KeyLimits, TenantLimits};
use crate::records::{
    CreatedKey, LoggedIn, NewKey, NewTenant, NewUser, TenantChange, UserChange, UserInfo,
};
use crate::secret::SecretHash;
use crate::usage::{Day, DaySum, UsageKind};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const DAY: Duration = Duration::from_hours(24);
const PASSWORD: &str = "correct horse";

/// Runs each case on SQLite as a test of its own, and all on one PostgreSQL.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    let folder = tempfile::tempdir().expect("a folder");
                    let path = folder.path().join("state.db");
                    super::$case(state::StateUrl::Sqlite { path }).await;
                }
            )*
        }

        #[tokio::test]
        async fn postgres_keeps_the_same_contract() {
            let Some(cluster) = PostgresCluster::start() else { return };
            $($case(cluster.new_database().await).await;)*
        }
    };
}

contract!(
    a_key_opens_what_it_says_and_is_stored_as_a_hash,
    a_key_ends_when_its_time_is_over,
    a_revoked_key_ends_at_once_here_and_soon_elsewhere,
    a_rotated_key_lives_on_for_the_overlap,
    the_bootstrap_key_opens_everything_and_is_not_stored,
    a_failing_database_makes_no_key_invalid,
    a_database_that_takes_nothing_is_a_problem,
    a_row_that_cannot_be_read_locks_out_nobody_else,
    numbers_are_limited,
    nobody_gives_rights_that_they_lack,
    nobody_takes_over_somebody_mightier,
    who_gains_rights_meanwhile_is_not_taken_over,
    an_attack_does_not_fill_the_audit_log,
    the_last_administrator_stays,
    a_login_begins_a_session_that_ends_in_time,
    a_login_says_the_same_of_all_that_is_wrong,
    failed_logins_take_ever_longer,
    the_oldest_sessions_end_when_there_are_too_many,
    who_changes_their_password_keeps_only_this_session,
    a_change_of_rights_counts_at_once_in_open_sessions,
    a_provider_decides_about_its_people,
    a_disabled_tenant_is_closed,
    changes_of_a_tenant_at_the_same_time_undo_nothing,
    the_audit_log_is_read_in_pages,
    what_is_old_is_removed,
    last_uses_and_usage_outlive_the_program,
);

struct World {
    access: Arc<Access>,
    clock: Arc<SimClock>,
    database: Database,
}

impl World {
    async fn open(url: &StateUrl, settings: AccessSettings) -> Result<Self, AccessError> {
        // The database waits in real time: simulated time jumps.
        let database = Database::open(url.clone(), &*SystemFs::new(), SystemClock::new()).await?;
        let clock = SimClock::new(START);
        let shared: Arc<dyn Clock> = Arc::new(Arc::clone(&clock));
        // Each program has randomness of its own.
        let rng = platform::SystemRng::new();
        let access = Access::open(database.clone(), shared, rng, settings).await?;
        Ok(Self { access, clock, database })
    }

    async fn new(url: &StateUrl) -> Self {
        Self::open(url, AccessSettings::default()).await.expect("services")
    }

    async fn key(&self, role: Role) -> CreatedKey {
        self.access.create_key(&root(), new_key(role)).await.expect("a key")
    }

    async fn user(&self, name: &str, role: Role, all_tenants: bool) -> UserInfo {
        let new = NewUser { all_tenants, ..new_user(name, role) };
        self.access.create_user(&root(), new).await.expect("a user")
    }

    async fn login(&self, name: &str, password: &str) -> Result<LoggedIn, LoginError> {
        self.access.login(name, &password.into(), &LoginOrigin::default()).await
    }

    fn check_key(&self, key: &CreatedKey) -> Result<Principal, CredentialError> {
        let found = self.access.directory().key(key.secret.expose_secret(), self.access.now());
        found.map(|grant| grant.principal.clone())
    }

    fn check_session(&self, login: &LoggedIn) -> Result<Principal, CredentialError> {
        let cookie = login.cookie.expose_secret();
        let found = self.access.directory().session(cookie, self.access.now());
        found.map(|grant| grant.principal.clone())
    }

    async fn audit(&self, query: AuditQuery) -> Vec<String> {
        let page = self.access.audit(&root(), &query).await.expect("a page");
        let line = |entry: &audit::AuditEntry| format!("{} {}", entry.action, entry.outcome);
        page.entries.iter().map(line).collect()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.database.query(sql, &[]).await.expect("rows")[0].integer(0).expect("a number")
    }
}

fn root() -> Actor {
    Actor::command_line()
}

fn default() -> TenantId {
    TenantId::default_tenant()
}

fn other() -> TenantId {
    TenantId::new("other").expect("a name")
}

fn new_key(role: Role) -> NewKey {
    NewKey {
        tenant: default(),
        app: None,
        name: "test".to_owned(),
        permissions: role.permissions(),
        all_tenants: false,
        limits: KeyLimits::default(),
        expires_at: None,
    }
}

fn new_user(name: &str, role: Role) -> NewUser {
    NewUser {
        tenant: default(),
        name: name.to_owned(),
        display_name: String::new(),
        password: Some(PASSWORD.into()),
        role,
        all_tenants: false,
    }
}

fn new_tenant(id: TenantId) -> NewTenant {
    let name = id.to_string();
    NewTenant { id, name, limits: TenantLimits::default(), metrics_retention: None }
}

async fn a_key_opens_what_it_says_and_is_stored_as_a_hash(url: StateUrl) {
    let world = World::new(&url).await;
    let new = NewKey { app: Some("shop".to_owned()), ..new_key(Role::Ingest) };
    let created = world.access.create_key(&root(), new).await.expect("a key");
    let principal = world.check_key(&created).expect("a good key");
    assert_eq!(principal.kind, PrincipalKind::Key { id: created.info.id.as_str().into() });
    assert_eq!(principal.app.as_deref(), Some("shop"));
    assert_eq!(principal.permissions, Role::Ingest.permissions());
    assert!(!principal.all_tenants && principal.tenant == default());
    let now = world.access.now();
    let directory = world.access.directory();
    let found = |key: &str| directory.key(key, now).map(drop);
    assert_eq!(found(&"a".repeat(64)), Err(CredentialError::Unknown));
    assert_eq!(found("x"), Err(CredentialError::Malformed));
    let rows = world.database.query("SELECT hash, name, id FROM api_keys", &[]).await;
    let expected = SecretHash::of(created.secret.expose_secret()).to_hex();
    assert_eq!(rows.expect("rows")[0].text(0).expect("a hash"), expected);
    let listed = world.access.list_keys(&root(), &default()).await.expect("keys");
    assert_eq!(listed, std::slice::from_ref(&created.info));
    assert_eq!(world.audit(AuditQuery::default()).await, ["key.create done"]);
    assert!(!format!("{created:?}").contains(created.secret.expose_secret()));
}

async fn a_key_ends_when_its_time_is_over(url: StateUrl) {
    let world = World::new(&url).await;
    let expires_at = Some(START.saturating_add_millis(1_000));
    let new = NewKey { expires_at, ..new_key(Role::Viewer) };
    let key = world.access.create_key(&root(), new).await.expect("a key");
    world.clock.advance(Duration::from_millis(999));
    assert!(world.check_key(&key).is_ok());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.check_key(&key), Err(CredentialError::Expired));
    let new = NewKey { expires_at, ..new_key(Role::Viewer) };
    let late = world.access.create_key(&root(), new).await;
    assert!(matches!(late, Err(AccessError::Invalid { field: "expires_at", .. })), "{late:?}");
}

async fn a_revoked_key_ends_at_once_here_and_soon_elsewhere(url: StateUrl) {
    let world = World::new(&url).await;
    let key = world.key(Role::Viewer).await;
    let elsewhere = World::new(&url).await;
    assert!(elsewhere.check_key(&key).is_ok());
    let (stop, stopped) = watch::channel(false);
    let work = async {
        world.access.revoke_key(&root(), &key.info.id).await.expect("revoked");
        assert_eq!(world.check_key(&key), Err(CredentialError::Revoked));
        elsewhere.clock.advance(Duration::from_millis(500));
        // The question to the database takes real time; were it not asked, the loop would end in vain.
        for _ in 0..1_000_000 {
            if elsewhere.check_key(&key).is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(elsewhere.check_key(&key), Err(CredentialError::Revoked));
        stop.send(true).expect("somebody listens");
    };
    tokio::join!(biased; Arc::clone(&elsewhere.access).run(stopped), work);
    let again = world.access.revoke_key(&root(), &key.info.id).await.expect("nothing to do");
    assert_eq!(again.revoked_at, Some(START));
    let unknown = world.access.revoke_key(&root(), "x\0").await;
    assert!(matches!(unknown, Err(AccessError::NotFound { .. })), "{unknown:?}");
}

async fn a_rotated_key_lives_on_for_the_overlap(url: StateUrl) {
    let world = World::new(&url).await;
    let old = world.key(Role::Editor).await;
    let new = world.access.rotate_key(&root(), &old.info.id, DAY).await.expect("a successor");
    assert_eq!(new.info.permissions, old.info.permissions);
    let again = world.access.rotate_key(&root(), &old.info.id, DAY).await;
    assert!(matches!(again, Err(AccessError::Invalid { field: "key", .. })), "{again:?}");
    let known = world.access.get_key(&root(), &old.info.id).await.expect("the old key");
    assert_eq!(known.replaced_by, Some(new.info.id.clone()));
    world.clock.advance(DAY - Duration::from_millis(1));
    assert!(world.check_key(&old).is_ok() && world.check_key(&new).is_ok());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.check_key(&old), Err(CredentialError::Expired));
    let last = world.access.rotate_key(&root(), &new.info.id, Duration::ZERO).await.expect("a key");
    assert_eq!(world.check_key(&new), Err(CredentialError::Expired));
    assert!(world.check_key(&last).is_ok());
}

async fn the_bootstrap_key_opens_everything_and_is_not_stored(url: StateUrl) {
    let settings = |key: String| AccessSettings {
        bootstrap_key: Some(key.into()),
        ..AccessSettings::default()
    };
    for key in ["deadbeef".repeat(8), "0".repeat(64), "short".to_owned(), "F0".repeat(32)] {
        let refused = World::open(&url, settings(key)).await.map(|_| ());
        assert!(matches!(refused, Err(AccessError::ConfiguredKey { .. })), "{refused:?}");
    }
    let key = "0123456789abcdef".repeat(4);
    let world = World::open(&url, settings(key.clone())).await.expect("services");
    let grant = world.access.directory().key(&key, START).expect("the key");
    assert_eq!(grant.principal.permissions, Role::Admin.permissions());
    assert!(grant.principal.all_tenants && *grant.principal.name == *"bootstrap");
    assert_eq!(world.count("SELECT COUNT(*) FROM api_keys").await, 0);
}

async fn a_failing_database_makes_no_key_invalid(url: StateUrl) {
    let world = World::new(&url).await;
    let key = world.key(Role::Viewer).await;
    assert_eq!(world.access.problem(), None);
    world.database.close().await;
    let error = world.access.create_key(&root(), new_key(Role::Viewer)).await.expect_err("closed");
    assert!(matches!(error, AccessError::State(_)) && error.is_retryable(), "{error:?}");
    let error = world.login("ada", PASSWORD).await.expect_err("closed");
    assert!(matches!(error, LoginError::Access(AccessError::State(_))), "{error:?}");
    world.access.follow().await;
    assert!(world.access.problem().is_some_and(|text| text.contains("not available")));
    assert!(world.check_key(&key).is_ok());
}

async fn a_database_that_takes_nothing_is_a_problem(url: StateUrl) {
    let world = World::new(&url).await;
    let usage = world.access.meters().tenant(&default(), START).expect("room");
    usage.put_back(vec![DaySum { day: Day::of(START), kind: UsageKind::Samples, amount: 5 }]);
    for (change, is_well) in [
        ("ALTER TABLE usage RENAME TO elsewhere", false),
        ("ALTER TABLE elsewhere RENAME TO usage", true),
    ] {
        world.database.execute(change, &[]).await.expect("a change by hand");
        world.access.write_back().await;
        world.access.follow().await;
        let problem = world.access.problem();
        assert_eq!(problem.is_none(), is_well, "{problem:?}");
    }
}

async fn a_row_that_cannot_be_read_locks_out_nobody_else(url: StateUrl) {
    let world = World::new(&url).await;
    let (good, bad) = (world.key(Role::Viewer).await, world.key(Role::Viewer).await);
    let damage = "UPDATE api_keys SET permissions = 'everything' WHERE id = $1";
    let statements = [Area::Keys.changed(), Statement::new(damage, [bad.info.id.as_str().into()])];
    world.database.transaction(&statements).await.expect("a change by hand");
    world.access.follow().await;
    assert!(world.check_key(&good).is_ok());
    assert_eq!(world.check_key(&bad), Err(CredentialError::Unknown));
    let problem = world.access.problem().expect("a problem");
    assert!(problem.contains(&bad.info.id) && problem.contains("permissions"), "{problem}");
}

async fn numbers_are_limited(url: StateUrl) {
    let settings = AccessSettings {
        keys_per_tenant_max: 2,
        users_max: 1,
        tenants_max: 2,
        ..AccessSettings::default()
    };
    let world = World::open(&url, settings).await.expect("services");
    let access = &world.access;
    let limit = |error| match error {
        AccessError::LimitReached { what, max } => (what, max),
        error => panic!("{error:?}"),
    };
    let first = world.key(Role::Viewer).await;
    world.key(Role::Viewer).await;
    let error = access.create_key(&root(), new_key(Role::Viewer)).await.expect_err("a third key");
    assert_eq!(limit(error), ("keys", 2));
    let error = access.rotate_key(&root(), &first.info.id, DAY).await.expect_err("a third key");
    assert_eq!(limit(error), ("keys", 2));
    assert!(world.check_key(&first).is_ok());
    world.user("ada", Role::Viewer, false).await;
    let error = access.create_user(&root(), new_user("bob", Role::Viewer)).await;
    assert_eq!(limit(error.expect_err("a second user")), ("users", 1));
    access.create_tenant(&root(), new_tenant(other())).await.expect("a second tenant");
    let third = new_tenant(TenantId::new("third").expect("a name"));
    let error = access.create_tenant(&root(), third).await.expect_err("a third tenant");
    assert_eq!(limit(error), ("tenants", 2));
    let done = world.audit(AuditQuery::default()).await;
    assert_eq!(
        done,
        ["tenant.create done", "user.create done", "key.create done", "key.create done"]
    );
}

/// Somebody of the tenant `default`.
fn somebody(permissions: PermissionSet, app: Option<&str>) -> Actor {
    Actor::of(Principal {
        permissions,
        all_tenants: false,
        app: app.map(Into::into),
        ..Principal::anonymous()
    })
}

async fn nobody_gives_rights_that_they_lack(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    access.create_tenant(&root(), new_tenant(other())).await.expect("a tenant");
    let foreign =
        access.create_key(&root(), NewKey { tenant: other(), ..new_key(Role::Viewer) }).await;
    let foreign = foreign.expect("a key").info.id;
    let admin = somebody(Role::Admin.permissions(), None);
    let editor = somebody(Role::Editor.permissions(), None);
    let only_admin = somebody(PermissionSet::of(&[Permission::Admin]), None);
    let of_shop = somebody(Role::Admin.permissions(), Some("shop"));
    let app = |app: &str| NewKey { app: Some(app.to_owned()), ..new_key(Role::Ingest) };
    for (actor, new, allowed) in [
        (&admin, new_key(Role::Admin), true),
        (&admin, NewKey { tenant: other(), ..new_key(Role::Viewer) }, false),
        (&admin, NewKey { all_tenants: true, ..new_key(Role::Viewer) }, false),
        (&editor, new_key(Role::Viewer), false),
        (&only_admin, new_key(Role::Viewer), false),
        (&of_shop, new_key(Role::Ingest), false),
        (&of_shop, app("blog"), false),
        (&of_shop, app("shop"), true),
        (&admin, app("shop"), true),
    ] {
        let result = access.create_key(actor, new.clone()).await.map(drop);
        match result {
            Ok(()) => assert!(allowed, "{actor:?} {new:?}"),
            Err(AccessError::Forbidden { .. }) => assert!(!allowed, "{actor:?} {new:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    let refused = AuditQuery { action: Some("key.create".to_owned()), ..AuditQuery::default() };
    let log = world.audit(refused).await;
    assert_eq!(log.iter().filter(|line| line.ends_with("refused")).count(), 6, "{log:?}");
    let hidden = access.revoke_key(&admin, &foreign).await;
    assert!(matches!(hidden, Err(AccessError::NotFound { .. })), "{hidden:?}");
    for new in [
        NewUser { all_tenants: true, ..new_user("eve", Role::Viewer) },
        NewUser { tenant: other(), ..new_user("eve", Role::Viewer) },
    ] {
        let result = access.create_user(&admin, new).await;
        assert!(matches!(result, Err(AccessError::Forbidden { .. })), "{result:?}");
    }
    let third = new_tenant(TenantId::new("third").expect("a name"));
    let result = access.create_tenant(&admin, third).await;
    assert!(matches!(result, Err(AccessError::Forbidden { .. })), "{result:?}");
    let result = access.update_tenant(&admin, &default(), TenantChange::default()).await;
    assert!(matches!(result, Err(AccessError::Forbidden { .. })), "{result:?}");
    let listed = access.list_tenants(&admin).await.expect("their own");
    assert_eq!(listed.iter().map(|tenant| tenant.id.clone()).collect::<Vec<_>>(), [default()]);
    let result = access.audit(&admin, &AuditQuery::default()).await;
    assert!(matches!(result, Err(AccessError::Forbidden { .. })), "{result:?}");
}

async fn nobody_takes_over_somebody_mightier(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    let chief = world.user("chief", Role::Admin, true).await;
    let new = NewKey { all_tenants: true, ..new_key(Role::Admin) };
    let chief_key = access.create_key(&root(), new).await.expect("a key").info.id;
    let admin = somebody(Role::Admin.permissions(), None);
    let forbidden = |result: Result<(), AccessError>| {
        assert!(matches!(result, Err(AccessError::Forbidden { .. })), "{result:?}");
    };
    forbidden(access.set_password(&admin, &chief.id, &"another password".into()).await);
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    forbidden(access.update_user(&admin, &chief.id, disable).await.map(drop));
    forbidden(access.delete_user(&admin, &chief.id).await);
    forbidden(access.rotate_key(&admin, &chief_key, DAY).await.map(drop));
    forbidden(access.revoke_key(&admin, &chief_key).await.map(drop));
    let ada = world.user("ada", Role::Viewer, false).await;
    let raise = UserChange { all_tenants: Some(true), ..UserChange::default() };
    forbidden(access.update_user(&admin, &ada.id, raise).await.map(drop));
    assert!(world.login("chief", PASSWORD).await.is_ok());
    // A viewer knows of nobody but themselves.
    let login = world.login("ada", PASSWORD).await.expect("a session");
    let viewer = Actor::of(login.session.principal.clone());
    assert_eq!(access.get_user(&viewer, &ada.id).await.expect("themselves").name, "ada");
    let result = access.get_user(&viewer, &chief.id).await;
    assert!(matches!(result, Err(AccessError::NotFound { .. })), "{result:?}");
}

async fn who_gains_rights_meanwhile_is_not_taken_over(url: StateUrl) {
    let world = World::new(&url).await;
    let ada = world.user("ada", Role::Viewer, false).await;
    let admin = somebody(Role::Admin.permissions(), None);
    let seen = world.access.find_user(&admin, &ada.id).await.expect("ada");
    let raise = UserChange { all_tenants: Some(true), ..UserChange::default() };
    world.access.update_user(&root(), &ada.id, raise).await.expect("raised");
    let late = world.access.store_password(&admin, &seen, &"another password".into(), None).await;
    assert!(matches!(late, Err(AccessError::Changed { .. })), "{late:?}");
    world.login("ada", PASSWORD).await.expect("her password is as it was");
}

async fn an_attack_does_not_fill_the_audit_log(url: StateUrl) {
    let world = World::new(&url).await;
    for _ in 0..101 {
        world.access.note_failure(None, &LoginOrigin::default()).await.expect("noted, or not");
    }
    assert_eq!(world.audit(AuditQuery::default()).await.len(), 100);
    world.clock.advance(Duration::from_secs(10));
    world.access.note_failure(None, &LoginOrigin::default()).await.expect("noted");
    assert_eq!(world.audit(AuditQuery::default()).await.len(), 101);
}

async fn the_last_administrator_stays(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    let chief = world.user("chief", Role::Admin, true).await;
    let last = |result: Result<(), AccessError>| {
        assert!(matches!(result, Err(AccessError::LastAdministrator)), "{result:?}");
    };
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let demote = UserChange { role: Some(Role::Editor), ..UserChange::default() };
    let narrow = UserChange { all_tenants: Some(false), ..UserChange::default() };
    for change in [disable.clone(), demote, narrow] {
        last(access.update_user(&root(), &chief.id, change).await.map(drop));
    }
    last(access.delete_user(&root(), &chief.id).await);
    assert!(world.login("chief", PASSWORD).await.is_ok());
    let second = world.user("second", Role::Admin, true).await;
    access.delete_user(&root(), &chief.id).await.expect("the other one stays");
    last(access.delete_user(&root(), &second.id).await);
    let settings = AccessSettings {
        bootstrap_key: Some("0123456789abcdef".repeat(4).into()),
        ..AccessSettings::default()
    };
    let world = World::open(&url, settings).await.expect("services");
    world.access.update_user(&root(), &second.id, disable).await.expect("there is the key");
}

async fn a_login_begins_a_session_that_ends_in_time(url: StateUrl) {
    let world = World::new(&url).await;
    let ada = world.user("ada", Role::Editor, false).await;
    let login = world.login("ada", PASSWORD).await.expect("a session");
    let principal = world.check_session(&login).expect("a good session");
    assert_eq!(principal.kind, PrincipalKind::User { id: ada.id.as_str().into() });
    assert_eq!(principal, login.session.principal);
    assert!(login.session.is_csrf(login.session.csrf.expose_secret()));
    assert!(!login.session.is_csrf("") && !login.session.is_csrf(login.cookie.expose_secret()));
    let known = world.access.get_user(&root(), &ada.id).await.expect("ada");
    assert_eq!(known.last_login_at, Some(START));
    // Used each day but the last, it lives on for seven days.
    for _ in 0..7 {
        assert!(world.check_session(&login).is_ok());
        world.clock.advance(DAY - Duration::from_millis(1));
    }
    assert!(world.check_session(&login).is_ok());
    world.clock.advance(Duration::from_millis(7));
    assert_eq!(world.check_session(&login), Err(CredentialError::Expired));
    let idle = world.login("ada", PASSWORD).await.expect("a session");
    world.clock.advance(DAY);
    assert_eq!(world.check_session(&idle), Err(CredentialError::Expired));
    let left = world.login("ada", PASSWORD).await.expect("a session");
    let actor = Actor::of(left.session.principal.clone());
    world.access.logout(&actor, &left.session.id).await.expect("ended");
    assert_eq!(world.check_session(&left), Err(CredentialError::Unknown));
    world.access.logout(&actor, &left.session.id).await.expect("nothing to do");
}

async fn a_login_says_the_same_of_all_that_is_wrong(url: StateUrl) {
    let world = World::new(&url).await;
    world.user("ada", Role::Viewer, false).await;
    let bob = world.user("bob", Role::Viewer, false).await;
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let login = world.login("bob", PASSWORD).await.expect("a session");
    world.access.update_user(&root(), &bob.id, disable).await.expect("disabled");
    assert_eq!(world.check_session(&login), Err(CredentialError::Unknown));
    let without = NewUser { password: None, ..new_user("eve", Role::Viewer) };
    world.access.create_user(&root(), without).await.expect("a user");
    for (name, password) in [
        ("ada", "wrong password"),
        ("Ada", PASSWORD),
        ("nobody", PASSWORD),
        ("bob", PASSWORD),
        ("eve", PASSWORD),
        ("eve", ""),
        ("a\0da", "wrong password"),
    ] {
        let result = world.login(name, password).await;
        assert!(matches!(result, Err(LoginError::Wrong)), "{name}: {result:?}");
    }
    let failed = AuditQuery { action: Some("session.begin".to_owned()), ..AuditQuery::default() };
    let log = world.audit(failed).await;
    assert_eq!(log.iter().filter(|line| *line == "session.begin refused").count(), 7, "{log:?}");
}

async fn failed_logins_take_ever_longer(url: StateUrl) {
    let world = World::new(&url).await;
    world.user("ada", Role::Viewer, false).await;
    for _ in 0..5 {
        assert!(matches!(world.login("ada", "wrong password").await, Err(LoginError::Wrong)));
    }
    let refused = world.login("ada", PASSWORD).await;
    assert!(
        matches!(refused, Err(LoginError::TooMany { retry_after }) if retry_after.as_secs() == 1),
        "{refused:?}"
    );
    // Others, and she from elsewhere, are not held up.
    let elsewhere = LoginOrigin { address: Some(IpAddr::from([10, 0, 0, 1])), request_id: None };
    world.access.login("ada", &PASSWORD.into(), &elsewhere).await.expect("a session");
    world.clock.advance(Duration::from_secs(1));
    world.login("ada", PASSWORD).await.expect("a session");
    // Success makes up for all failures.
    assert!(matches!(world.login("ada", "wrong password").await, Err(LoginError::Wrong)));
    world.login("ada", PASSWORD).await.expect("a session");
}

async fn the_oldest_sessions_end_when_there_are_too_many(url: StateUrl) {
    let settings = AccessSettings { sessions_per_user_max: 2, ..AccessSettings::default() };
    let world = World::open(&url, settings).await.expect("services");
    let ada = world.user("ada", Role::Viewer, false).await;
    let mut logins = Vec::new();
    for _ in 0..3 {
        logins.push(world.login("ada", PASSWORD).await.expect("a session"));
    }
    assert_eq!(world.check_session(&logins[0]), Err(CredentialError::Unknown));
    assert!(world.check_session(&logins[1]).is_ok() && world.check_session(&logins[2]).is_ok());
    let listed = world.access.list_sessions(&root(), &ada.id).await.expect("sessions");
    let ids: Vec<&str> = listed.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, [&*logins[1].session.id, &*logins[2].session.id]);
}

async fn who_changes_their_password_keeps_only_this_session(url: StateUrl) {
    let world = World::new(&url).await;
    let ada = world.user("ada", Role::Viewer, false).await;
    let first = world.login("ada", PASSWORD).await.expect("a session");
    let second = world.login("ada", PASSWORD).await.expect("a session");
    let actor = Actor::of(second.session.principal.clone());
    let (old, new) = (SecretString::from(PASSWORD), SecretString::from("battery staple"));
    let id = &second.session.id;
    let wrong = world.access.change_password(&actor, id, &new, &old).await;
    assert!(matches!(wrong, Err(LoginError::Wrong)), "{wrong:?}");
    world.access.change_password(&actor, id, &old, &new).await.expect("changed");
    assert_eq!(world.check_session(&first), Err(CredentialError::Unknown));
    assert!(world.check_session(&second).is_ok());
    assert!(matches!(world.login("ada", PASSWORD).await, Err(LoginError::Wrong)));
    world.login("ada", "battery staple").await.expect("a session");
    world.access.set_password(&root(), &ada.id, &old).await.expect("set");
    assert_eq!(world.check_session(&second), Err(CredentialError::Unknown));
}

async fn a_change_of_rights_counts_at_once_in_open_sessions(url: StateUrl) {
    let world = World::new(&url).await;
    let ada = world.user("ada", Role::Editor, false).await;
    let login = world.login("ada", PASSWORD).await.expect("a session");
    let demote = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    world.access.update_user(&root(), &ada.id, demote).await.expect("changed");
    let principal = world.check_session(&login).expect("the session goes on");
    assert_eq!(principal.permissions, Role::Viewer.permissions());
    world.access.delete_user(&root(), &ada.id).await.expect("removed");
    assert_eq!(world.check_session(&login), Err(CredentialError::Unknown));
    assert_eq!(world.count("SELECT COUNT(*) FROM sessions").await, 0);
}

async fn a_provider_decides_about_its_people(url: StateUrl) {
    let world = World::new(&url).await;
    world.user("ada@example.com", Role::Viewer, false).await;
    let identity = Identity {
        issuer: "https://id.example.com".to_owned(),
        subject: "42".to_owned(),
        name: "Ada".to_owned(),
        email: Some("ada@example.com".to_owned()),
        groups: Vec::new(),
    };
    let grant = |role| Grant { role, tenant: default(), all_tenants: false };
    let origin = LoginOrigin::default();
    let first = world.access.login_oidc(&identity, &grant(Role::Editor), &origin).await;
    let first = first.expect("a session");
    let principal = world.check_session(&first).expect("a good session");
    assert_eq!(principal.permissions, Role::Editor.permissions());
    assert_eq!(&*principal.name, "Ada");
    let again = world.access.login_oidc(&identity, &grant(Role::Viewer), &origin).await;
    assert_eq!(again.expect("a session").session.principal.kind, principal.kind);
    let principal = world.check_session(&first).expect("the first goes on");
    assert_eq!(principal.permissions, Role::Viewer.permissions());
    let users = world.access.list_users(&root(), None).await.expect("users");
    assert_eq!(users.len(), 2);
    // Not by name: whoever has that name here is somebody else.
    let added = users.iter().find(|user| user.oidc.is_some()).expect("the one from elsewhere");
    assert!(added.name.starts_with("ada@example.com "), "{}", added.name);
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    world.access.update_user(&root(), &added.id, disable).await.expect("disabled");
    let refused = world.access.login_oidc(&identity, &grant(Role::Viewer), &origin).await;
    assert!(matches!(refused, Err(LoginError::Wrong)), "{refused:?}");
    let nowhere = Grant { tenant: other(), ..grant(Role::Viewer) };
    let refused = world.access.login_oidc(&identity, &nowhere, &origin).await;
    assert!(
        matches!(refused, Err(LoginError::Access(AccessError::NotFound { what: "tenant", .. }))),
        "{refused:?}"
    );
}

async fn a_disabled_tenant_is_closed(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    let limits = TenantLimits { series_max: Some(7), ..TenantLimits::default() };
    let new = NewTenant { limits: limits.clone(), ..new_tenant(other()) };
    access.create_tenant(&root(), new).await.expect("a tenant");
    let twice = access.create_tenant(&root(), new_tenant(other())).await;
    assert!(matches!(twice, Err(AccessError::Exists { .. })), "{twice:?}");
    let key = access.create_key(&root(), NewKey { tenant: other(), ..new_key(Role::Viewer) }).await;
    let key = key.expect("a key");
    access
        .create_user(&root(), NewUser { tenant: other(), ..new_user("ada", Role::Viewer) })
        .await
        .expect("a user");
    let login = world.login("ada", PASSWORD).await.expect("a session");
    let change = |disabled| TenantChange {
        disabled: Some(disabled),
        metrics_retention: Some(Some(DAY)),
        ..TenantChange::default()
    };
    access.update_tenant(&root(), &other(), change(true)).await.expect("disabled");
    assert_eq!(world.check_key(&key), Err(CredentialError::TenantDisabled));
    assert_eq!(world.check_session(&login), Err(CredentialError::TenantDisabled));
    assert!(matches!(world.login("ada", PASSWORD).await, Err(LoginError::Wrong)));
    access.update_tenant(&root(), &other(), change(false)).await.expect("enabled");
    assert!(world.check_key(&key).is_ok());
    let tenant = access.directory().tenant(&other()).expect("the tenant");
    assert_eq!((&*tenant.limits, tenant.metrics_retention), (&limits, Some(DAY)));
    let usage = access.meters().tenant(&other(), START).expect("room");
    assert_eq!(*usage.limits(&Arc::default()), limits);
    let refused = access.update_tenant(&root(), &default(), change(true)).await;
    assert!(matches!(refused, Err(AccessError::Invalid { field: "disabled", .. })), "{refused:?}");
    let nowhere = TenantId::new("nowhere").expect("a name");
    let refused = access.update_tenant(&root(), &nowhere, change(true)).await;
    assert!(matches!(refused, Err(AccessError::NotFound { .. })), "{refused:?}");
}

async fn changes_of_a_tenant_at_the_same_time_undo_nothing(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    access.create_tenant(&root(), new_tenant(other())).await.expect("a tenant");
    let disable = TenantChange { disabled: Some(true), ..TenantChange::default() };
    let rename = TenantChange { name: Some("renamed".to_owned()), ..TenantChange::default() };
    let limits = TenantLimits { series_max: Some(7), ..TenantLimits::default() };
    let limit = TenantChange { limits: Some(limits.clone()), ..TenantChange::default() };
    let (root, id) = (root(), other());
    let (disabled, renamed, limited) = tokio::join!(
        access.update_tenant(&root, &id, disable),
        access.update_tenant(&root, &id, rename),
        access.update_tenant(&root, &id, limit),
    );
    assert!(disabled.is_ok() && renamed.is_ok() && limited.is_ok());
    let tenant = access.directory().tenant(&id).expect("the tenant");
    assert_eq!((tenant.disabled, &*tenant.name), (true, "renamed"));
    assert_eq!(*tenant.limits, limits);
}

async fn the_audit_log_is_read_in_pages(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    access.create_tenant(&root(), new_tenant(other())).await.expect("a tenant");
    for (index, tenant) in [default(), other(), default(), default(), default()].iter().enumerate()
    {
        let entry = NewAuditEntry {
            tenant: tenant.clone(),
            action: if index % 2 == 0 { "rule.create" } else { "rule.delete" },
            target: format!("{index}\0{}", "ä".repeat(4_000)),
            outcome: Outcome::Done,
            detail: serde_json::json!({ "index": index }),
        };
        let actor = Actor { address: Some(IpAddr::from([10, 0, 0, 1])), ..root() };
        access.record(&actor, entry).await.expect("an entry");
        world.clock.advance(Duration::from_secs(1));
    }
    let mut query = AuditQuery { tenant: Some(default()), entries_max: 3, ..AuditQuery::default() };
    let first = access.audit(&root(), &query).await.expect("a page");
    let details = |page: &AuditPage| {
        page.entries.iter().map(|entry| entry.detail.clone()).collect::<Vec<_>>()
    };
    assert_eq!(details(&first), [r#"{"index":4}"#, r#"{"index":3}"#, r#"{"index":2}"#]);
    let entry = &first.entries[0];
    assert_eq!((&*entry.actor, &*entry.actor_name), ("anonymous", "command line"));
    assert_eq!(entry.address.as_deref(), Some("10.0.0.1"));
    assert!(entry.target.starts_with("4\u{FFFD}ä") && entry.target.len() <= 4_096);
    query.cursor = first.next;
    let second = access.audit(&root(), &query).await.expect("a page");
    assert_eq!((details(&second), second.next), (vec![r#"{"index":0}"#.to_owned()], None));
    let at = |seconds: i64| Some(START.saturating_add_millis(seconds * 1_000));
    for (query, expected) in [
        (AuditQuery { action: Some("rule.delete".to_owned()), ..AuditQuery::default() }, 2),
        (AuditQuery { actor: Some("anonymous".to_owned()), ..AuditQuery::default() }, 6),
        (AuditQuery { actor: Some("key 1".to_owned()), ..AuditQuery::default() }, 0),
        (AuditQuery { from: at(1), until: at(3), ..AuditQuery::default() }, 2),
        (AuditQuery { tenant: Some(other()), ..AuditQuery::default() }, 2),
        (AuditQuery { entries_max: usize::MAX, ..AuditQuery::default() }, 6),
    ] {
        assert_eq!(world.audit(query.clone()).await.len(), expected, "{query:?}");
    }
}

async fn what_is_old_is_removed(url: StateUrl) {
    let world = World::new(&url).await;
    let access = &world.access;
    let user = world.user("ada", Role::Viewer, false).await;
    let (kept, revoked) = (world.key(Role::Viewer).await, world.key(Role::Viewer).await);
    access.revoke_key(&root(), &revoked.info.id).await.expect("revoked");
    world.login("ada", PASSWORD).await.expect("a session");
    world.clock.advance(90 * DAY);
    access.sweep().await;
    assert_eq!(access.list_keys(&root(), &default()).await.expect("keys").len(), 2);
    assert!(access.list_sessions(&root(), &user.id).await.expect("sessions").is_empty());
    world.clock.advance(Duration::from_millis(1));
    access.sweep().await;
    let keys = access.list_keys(&root(), &default()).await.expect("keys");
    assert_eq!(keys, std::slice::from_ref(&kept.info));
    assert_eq!(world.check_key(&revoked), Err(CredentialError::Unknown));
    assert_eq!(world.audit(AuditQuery::default()).await.len(), 5);
    world.clock.advance(275 * DAY);
    access.sweep().await;
    assert!(world.audit(AuditQuery::default()).await.is_empty());
    assert!(world.check_key(&kept).is_ok());
}

async fn last_uses_and_usage_outlive_the_program(url: StateUrl) {
    let world = World::new(&url).await;
    let key = world.key(Role::Viewer).await;
    let usage = world.access.meters().tenant(&default(), START).expect("room");
    let sum = DaySum { day: Day::of(START), kind: UsageKind::Samples, amount: 5 };
    usage.put_back(vec![sum]);
    world.clock.advance(Duration::from_secs(7));
    world.check_key(&key).expect("a good key");
    // A change of another key reads all keys again: the use is not lost.
    world.key(Role::Viewer).await;
    let (stop, stopped) = watch::channel(false);
    stop.send(true).expect("somebody listens");
    Arc::clone(&world.access).run(stopped).await;
    let stored = world.access.get_key(&root(), &key.info.id).await.expect("the key");
    assert_eq!(stored.last_used_at, Some(START.saturating_add_millis(7_000)));
    let reopened = World::new(&url).await;
    let today = Day::of(START);
    let sums = reopened.access.usage(&root(), &default(), today, today).await.expect("sums");
    assert!(sums.contains(&sum), "{sums:?}");
    let usage = reopened.access.meters().tenant(&default(), START).expect("room");
    let counted = usage.report(START).today;
    assert!(counted.contains(&(UsageKind::Samples, 5)), "{counted:?}");
    // What was loaded is not added again.
    reopened.access.write_back().await;
    let sums = reopened.access.usage(&root(), &default(), today, today).await.expect("sums");
    assert!(sums.contains(&sum), "{sums:?}");
}
