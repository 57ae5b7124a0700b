-- Who used how much on which day, a row for each server that served them; pages and answers show the sum.
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

-- What people hold back from eviction, wherever it lies; seq ascends with every change, in the order of commits.
CREATE TABLE pins (
    sha256 TEXT NOT NULL,
    owner TEXT NOT NULL,              -- "person:ada"
    reason TEXT NOT NULL,
    since DOUBLE PRECISION NOT NULL,  -- Unix seconds
    until DOUBLE PRECISION,           -- NULL: as long as nobody takes it away
    gone BOOLEAN NOT NULL DEFAULT FALSE, -- it was taken away: told to servers that have it still
    seq BIGSERIAL NOT NULL,
    PRIMARY KEY (owner, sha256)
);
CREATE INDEX pins_by_seq ON pins (seq);
