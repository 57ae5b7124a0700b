-- Files: the contents of the folder blobs/, the records and segments whose files these are, and export jobs.
-- A blob's file is on disk before its row is committed, and its rows are gone before its file is.

-- One row per file content in the store.
CREATE TABLE mirror.blobs (
    head BIGINT NOT NULL,         -- the first 15 digits of sha256 as a number, for quick comparing
    sha256 VARCHAR NOT NULL,      -- 64 hexadecimal digits, lower case: the name of the file
    size BIGINT NOT NULL,         -- bytes
    kept_at DOUBLE NOT NULL,      -- Unix seconds, as all times below
    verified_at DOUBLE NOT NULL,  -- when its hash was last verified; 0: not since it was found
    last_used DOUBLE NOT NULL     -- written now and then: a crash loses only an order
);

-- Which blob the file of a storage unit is, and its record and segment, if known. With linked segments, several
-- records of several series may have one file.
CREATE TABLE mirror.holdings (
    series VARCHAR,               -- lower case
    recnum BIGINT,
    segment VARCHAR,              -- lower case
    sunum BIGINT NOT NULL,
    slot INTEGER NOT NULL,
    file VARCHAR NOT NULL,
    disk VARCHAR NOT NULL,        -- the first part of the path as last seen, "SUM12"
    link VARCHAR,                 -- its name in the readable tree, relative to it
    head BIGINT NOT NULL,         -- of the blob, as above
    sha256 VARCHAR NOT NULL
);

-- Blobs that must stay, who wants that, and why. A pin may come before its blob and outlive it.
CREATE TABLE mirror.pins (
    sha256 VARCHAR NOT NULL,
    owner VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    since DOUBLE NOT NULL,
    until DOUBLE                  -- NULL: until somebody removes it
);

-- Damaged blobs: their rows are gone, their files are in quarantine/ for people to look at.
CREATE TABLE mirror.quarantine (
    sha256 VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    found_at DOUBLE NOT NULL
);

-- Export requests: ours, and the upstream ones that they wait for.
CREATE TABLE mirror.jobs (
    id VARCHAR NOT NULL,          -- the request id that clients ask by
    identity VARCHAR NOT NULL,    -- equal for requests that are the same
    upstream_id VARCHAR,          -- the request that upstream works on
    request VARCHAR NOT NULL,     -- JSON
    state VARCHAR NOT NULL,       -- see mirror.services.exports.jobs
    created DOUBLE NOT NULL,
    updated DOUBLE NOT NULL,
    error VARCHAR                 -- why it failed, for people
);

-- The files of a job in their order; sha256 is NULL until the file is in the store.
CREATE TABLE mirror.job_files (
    job VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    record VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    sha256 VARCHAR,
    size BIGINT
);
