-- What the mirrors of a cluster share. Applied in the schema "mirror" of the cluster's database.

-- Which cluster this is: the objects have the same identity, so that neither is taken for another's.
CREATE TABLE cluster (
    id UUID NOT NULL,
    made_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
INSERT INTO cluster VALUES (gen_random_uuid());

-- A row for each connection of a server, which is there as long as its session holds the advisory lock of its number.
CREATE TABLE servers (
    id SERIAL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    address TEXT NOT NULL DEFAULT '',
    since TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What is held, one row per chunk. Rows of one series are written one after the other, so that their numbers ascend in
-- the order in which they become visible.
CREATE TABLE journal (
    id BIGSERIAL PRIMARY KEY,
    series TEXT NOT NULL,             -- in lower case
    space TEXT NOT NULL,              -- identifies how the series' prime keys place its records
    kind TEXT NOT NULL,               -- 'content': these boxes are held as of then; 'same': unchanged since; 'drop': given up
    claims JSONB NOT NULL,            -- [[region, [[lo, hi, checked at], ...]], ...]
    lo BIGINT NOT NULL,               -- the axis values between which all of them lie
    hi BIGINT NOT NULL,
    since DOUBLE PRECISION,           -- for 'same': since when, in Unix seconds
    object TEXT,                      -- the object with the records; NULL: there are none
    sha256 TEXT,
    size BIGINT NOT NULL DEFAULT 0,
    rows BIGINT NOT NULL DEFAULT 0,
    server TEXT NOT NULL,
    format INT NOT NULL DEFAULT 1,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX journal_of_series ON journal (series, id);

-- What is being fetched now, and by whom.
CREATE TABLE flights (
    id BIGSERIAL PRIMARY KEY,
    series TEXT NOT NULL,
    boxes JSONB NOT NULL,             -- [[region, [[lo, hi, step], ...]], ...]
    server INT NOT NULL REFERENCES servers ON DELETE CASCADE,
    since TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX flights_of_series ON flights (series);

-- Structures of series and other small answers of JSOC; seq ascends with every change, in the order of commits.
CREATE TABLE facts (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    fetched_at DOUBLE PRECISION NOT NULL,
    seq BIGSERIAL NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX facts_by_seq ON facts (seq);

-- What was asked of JSOC, by periods of a minute (records) and of 24 minutes (bytes), for the common budget.
CREATE TABLE used (
    server TEXT NOT NULL,
    kind TEXT NOT NULL,               -- 'records' or 'bytes'
    part BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (kind, part, server)
);

-- A number for each name that a server ever had: the last three digits of the ids of its exports.
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    number SERIAL NOT NULL
);
