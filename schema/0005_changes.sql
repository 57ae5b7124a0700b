-- Held records that JSOC replaced or withdrew, each noted in the transaction that took the change over.
CREATE TABLE mirror.changes (
    series VARCHAR NOT NULL,      -- lower case
    old_recnum BIGINT NOT NULL,   -- in the series' table of old versions since then
    new_recnum BIGINT,            -- of the same name; NULL: no record has that name any more
    name VARCHAR NOT NULL,        -- the record as *spec* prints it: series and prime-key values
    found_at DOUBLE NOT NULL      -- Unix seconds
);
