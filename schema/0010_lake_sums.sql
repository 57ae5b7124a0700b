-- The lake's files are checked like all others. Those that were written before are written anew when they are
-- next asked for: nothing is lost with them, for all that they hold is in the index.
DROP TABLE mirror.lake;

-- The files of the lake that hold what the tables of a series hold; all others in its folder are on their way out.
CREATE TABLE mirror.lake (
    series VARCHAR NOT NULL,      -- lower case, with __old for the versions that were replaced
    month VARCHAR NOT NULL,       -- "2014-01", "none" for records without a time
    file VARCHAR NOT NULL,        -- relative to the lake
    shape VARCHAR NOT NULL,       -- a hash of the columns
    records BIGINT NOT NULL,
    print VARCHAR NOT NULL,       -- a hash of the record numbers
    bytes BIGINT NOT NULL,
    sealed_at DOUBLE NOT NULL,    -- Unix seconds
    sha256 VARCHAR NOT NULL       -- of the file
);
