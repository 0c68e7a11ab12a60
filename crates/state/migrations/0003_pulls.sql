-- Image pulls: a row when one begins, changed when it ends, removed when it is old enough. Times are milliseconds since
-- the epoch. What has a column of its own is searched; names and pods are lower-case text for that, detail is JSON.
CREATE TABLE pulls (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    cluster TEXT NOT NULL,
    node TEXT NOT NULL,
    names TEXT NOT NULL,
    pods TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    -- 1 while it has ended and its end is not published yet.
    publish BIGINT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX pulls_by_start ON pulls (tenant, started_at, id);
CREATE INDEX pulls_by_node ON pulls (tenant, node, started_at, id);
CREATE INDEX pulls_by_end ON pulls (ended_at, id);
CREATE INDEX pulls_running ON pulls (tenant, id) WHERE ended_at IS NULL;
CREATE INDEX pulls_to_publish ON pulls (ended_at, id) WHERE publish = 1;
