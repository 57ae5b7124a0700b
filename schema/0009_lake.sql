-- The current files of the lake; all others in its folder are to be removed.
CREATE TABLE mirror.lake (
    series VARCHAR NOT NULL,      -- lower case, with __old for replaced versions
    month VARCHAR NOT NULL,       -- "2014-01", "none" for records without a time
    file VARCHAR NOT NULL,        -- relative to the lake
    shape VARCHAR NOT NULL,       -- a hash of the columns
    records BIGINT NOT NULL,
    print VARCHAR NOT NULL,       -- a hash of the record numbers
    bytes BIGINT NOT NULL,
    sealed_at DOUBLE NOT NULL     -- Unix seconds
);
