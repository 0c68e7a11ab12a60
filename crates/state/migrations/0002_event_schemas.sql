-- JSON Schemas that custom events have to fit. The mode is off, warn or enforce.
CREATE TABLE event_schemas (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    app TEXT NOT NULL,
    event_name TEXT NOT NULL,
    mode TEXT NOT NULL,
    schema TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, app, event_name)
);
INSERT INTO revision (area, number) VALUES ('event_schemas', 1);
