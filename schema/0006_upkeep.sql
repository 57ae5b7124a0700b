-- Upkeep: what was checked and what was found, and who used the mirror how much.

-- One row per check of the store. An unfinished one is continued.
CREATE TABLE mirror.checks (
    id BIGINT NOT NULL,
    scope VARCHAR NOT NULL,       -- "files", "index" or "all"
    background BOOLEAN NOT NULL,
    started_at DOUBLE NOT NULL,   -- Unix seconds, as all times below
    ended_at DOUBLE,              -- NULL: not finished
    step VARCHAR NOT NULL,        -- the step under way, see mirror.services.maintenance.check_plan
    place VARCHAR NOT NULL,       -- the progress of that step; "" at its beginning
    files BIGINT NOT NULL,        -- looked at so far
    bytes BIGINT NOT NULL,
    records BIGINT NOT NULL
);

-- What checks found, and what became of it.
CREATE TABLE mirror.findings (
    run BIGINT NOT NULL,          -- the check
    found_at DOUBLE NOT NULL,
    kind VARCHAR NOT NULL,
    place VARCHAR NOT NULL,
    problem VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,     -- "repaired", "quarantined", "missing", "open" or "harmless"
    action VARCHAR NOT NULL       -- what was done, or must be
);

-- Bytes that background checks have read, by UTC day: the day's budget survives a restart.
CREATE TABLE mirror.checked_days (
    day VARCHAR NOT NULL,         -- 2026-11-22
    bytes BIGINT NOT NULL
);

-- Who used the mirror, by UTC day: a row per day and address or token.
CREATE TABLE mirror.usage (
    day VARCHAR NOT NULL,
    who VARCHAR NOT NULL,
    requests BIGINT NOT NULL,
    records BIGINT NOT NULL,      -- told
    bytes BIGINT NOT NULL,        -- sent
    upstream_bytes BIGINT NOT NULL  -- that JSOC had to send for it
);
