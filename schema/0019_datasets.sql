-- Data sets to cite: which records, in which versions, and which files are kept unchanged.

CREATE TABLE mirror.datasets (
    name VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    created DOUBLE NOT NULL,      -- Unix seconds
    software VARCHAR NOT NULL,    -- what made it, with its version
    statement VARCHAR NOT NULL,   -- JSON: {"ds": [...]} or {"sql": "..."}
    keywords VARCHAR NOT NULL,    -- JSON: for each series, the keywords in the hashes of its records
    sha256 VARCHAR NOT NULL       -- of all hashes below: identifies the content
);
CREATE TABLE mirror.dataset_records (
    dataset VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    series VARCHAR NOT NULL,      -- in the series' own case
    recnum BIGINT NOT NULL,
    record VARCHAR NOT NULL,      -- as *spec* prints it: series and prime-key values
    sha256 VARCHAR NOT NULL       -- of the printed values of its keywords
);
CREATE TABLE mirror.dataset_files (
    dataset VARCHAR NOT NULL,
    series VARCHAR NOT NULL,
    recnum BIGINT NOT NULL,
    segment VARCHAR NOT NULL,     -- in its own case
    path VARCHAR NOT NULL,        -- at JSOC
    size BIGINT NOT NULL,         -- bytes
    sha256 VARCHAR NOT NULL
);
