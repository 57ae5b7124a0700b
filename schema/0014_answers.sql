-- What JSOC answered, where the records alone do not tell it: which records of a region satisfy a condition, which
-- records and how many a query has, and answers whose form only JSOC gives. See mirror.storage.index.answers.
CREATE TABLE mirror.answers (
    id BIGINT NOT NULL,           -- another one after each change
    series VARCHAR NOT NULL,      -- lower case
    kind VARCHAR NOT NULL,        -- condition, records, count, body
    key VARCHAR NOT NULL,         -- the question in its canonical form
    spans VARCHAR NOT NULL,       -- JSON, as coverage: what it is about, and when each part was checked
    numbers BIGINT[],             -- of a condition or of records: the record numbers
    body BLOB,                    -- of a count its digits, of a body the answer as it came
    used_at DOUBLE NOT NULL       -- Unix seconds, when it was written last
);
