-- Exports, with what another server needs to continue one when its server is gone.
CREATE TABLE exports (
    id TEXT PRIMARY KEY,              -- the request id that clients ask by
    identity TEXT NOT NULL,
    request TEXT NOT NULL,            -- JSON
    created DOUBLE PRECISION NOT NULL, -- Unix seconds
    upstream_id TEXT,                 -- the request that JSOC works on
    server TEXT NOT NULL              -- the server that works on it
);
CREATE INDEX exports_by_age ON exports (created);
