-- Who may do what. Times are milliseconds since the epoch, booleans 0 or 1, limits and details JSON,
-- hashes lower-case hexadecimal SHA-256. The same text runs on SQLite and PostgreSQL.

-- What a server keeps in memory is read again when its area's number differs. Every change adds one here first,
-- which also lets changes happen one after the other.
CREATE TABLE revision (
    area TEXT PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO revision (area, number) VALUES ('tenants', 1), ('keys', 1), ('people', 1);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    limits TEXT NOT NULL,
    retention TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    app TEXT,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    permissions TEXT NOT NULL,
    all_tenants BIGINT NOT NULL,
    limits TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    replaced_by TEXT,
    last_used_at BIGINT
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    password_hash TEXT,
    oidc_issuer TEXT,
    oidc_subject TEXT,
    role TEXT NOT NULL,
    all_tenants BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_login_at BIGINT,
    UNIQUE (oidc_issuer, oidc_subject)
);
CREATE INDEX users_by_tenant ON users (tenant, id);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    csrf TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    address TEXT
);
CREATE INDEX sessions_by_user ON sessions (user_id, id);

-- Rows are added and, when they are old enough, removed; never changed.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    actor TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    address TEXT,
    request_id TEXT
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_tenant ON audit (tenant, id);

CREATE TABLE usage (
    tenant TEXT NOT NULL,
    day BIGINT NOT NULL,
    kind TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (tenant, day, kind)
);
