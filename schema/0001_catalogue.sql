-- The catalogue of the mirror. Every series has tables of its own beside these, made when its first
-- record arrives: "hmi"."v_45s" with the newest version of each record, "hmi"."v_45s__old" with the rest.

CREATE SCHEMA mirror;

-- One row per series: its structure, as the last answer of series_struct, verbatim.
CREATE TABLE mirror.series (
    name VARCHAR NOT NULL,        -- in the series' own case
    structure VARCHAR NOT NULL,   -- JSON text of series_struct
    fetched_at DOUBLE NOT NULL    -- Unix seconds
);

-- The fields of a record's `_raw`, in order. Rows name a key set by its number.
CREATE TABLE mirror.keysets (
    id INTEGER NOT NULL,
    series VARCHAR NOT NULL,      -- lower case
    fields VARCHAR NOT NULL       -- JSON list of field names
);

-- Coverage, as a log of what was completed; it is replayed at start, and later rows win.
CREATE TABLE mirror.coverage (
    id BIGINT NOT NULL,
    series VARCHAR NOT NULL,      -- lower case
    region VARCHAR NOT NULL,      -- JSON, see mirror.storage.index.changes
    lo BIGINT NOT NULL,
    hi BIGINT NOT NULL,
    step BIGINT NOT NULL,
    checked_at DOUBLE NOT NULL    -- Unix seconds
);

-- Precision of the printed floating-point keywords, from the values seen so far; the widest row counts.
CREATE TABLE mirror.precision (
    series VARCHAR NOT NULL,      -- lower case
    keyword VARCHAR NOT NULL,     -- lower case
    abs_tol DOUBLE NOT NULL,
    rel_tol DOUBLE NOT NULL
);

-- Small answers kept whole: the list of series, registered addresses.
CREATE TABLE mirror.facts (
    kind VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    fetched_at DOUBLE NOT NULL    -- Unix seconds
);
