-- Who used how much on which day, one row per server; pages and answers show the sum.
CREATE TABLE usage (
    server TEXT NOT NULL,
    day TEXT NOT NULL,                -- 2026-11-22
    who TEXT NOT NULL,
    requests BIGINT NOT NULL,
    records BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    upstream_bytes BIGINT NOT NULL,
    PRIMARY KEY (day, server, who)
);

-- What people keep from eviction, wherever it is; seq ascends with every change, in the order of commits.
CREATE TABLE pins (
    sha256 TEXT NOT NULL,
    owner TEXT NOT NULL,              -- "person:ada"
    reason TEXT NOT NULL,
    since DOUBLE PRECISION NOT NULL,  -- Unix seconds
    until DOUBLE PRECISION,           -- NULL: until somebody removes it
    gone BOOLEAN NOT NULL DEFAULT FALSE, -- removed: for servers that still have it
    seq BIGSERIAL NOT NULL,
    PRIMARY KEY (owner, sha256)
);
CREATE INDEX pins_by_seq ON pins (seq);
