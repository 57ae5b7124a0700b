-- Exports, with what another server needs to go on with one when the server that made it is gone.
CREATE TABLE exports (
    id TEXT PRIMARY KEY,              -- the request id that clients ask by
    identity TEXT NOT NULL,
    request TEXT NOT NULL,            -- JSON
    created DOUBLE PRECISION NOT NULL, -- Unix seconds
    upstream_id TEXT,                 -- of the request that JSOC works on
    server TEXT NOT NULL              -- the name of who works on it
);
CREATE INDEX exports_by_age ON exports (created);
