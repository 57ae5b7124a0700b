-- What JSOC answered and records alone do not show: which records of a region satisfy a condition, which records and
-- how many a query has, and answers that only JSOC can lay out. See mirror.storage.index.answers.
CREATE TABLE mirror.answers (
    id BIGINT NOT NULL,           -- a new one after each change
    series VARCHAR NOT NULL,      -- lower case
    kind VARCHAR NOT NULL,        -- condition, records, count, body
    key VARCHAR NOT NULL,         -- the question in its canonical form
    spans VARCHAR NOT NULL,       -- JSON, as coverage: where it holds, and when each part was checked
    numbers BIGINT[],             -- for a condition or records: the record numbers
    body BLOB,                    -- for a count its digits, for a body the answer as it came
    used_at DOUBLE NOT NULL       -- Unix seconds, as of the last write
);
