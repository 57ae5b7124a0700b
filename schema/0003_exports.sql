-- Exports that go on: why a job waits, what it is divided into, and which of its files are made of printed values.

ALTER TABLE mirror.jobs ADD COLUMN tries INTEGER;      -- in a row that did not get further; NULL: none
ALTER TABLE mirror.jobs ADD COLUMN waited DOUBLE;      -- seconds between them, in all
ALTER TABLE mirror.jobs ADD COLUMN next_at DOUBLE;     -- when the next one is due
ALTER TABLE mirror.jobs ADD COLUMN why VARCHAR;        -- what ended the last one, for people

ALTER TABLE mirror.job_files ADD COLUMN printed BOOLEAN;  -- true if its keywords are values as they print

-- What upstream is asked for a job where that is more than one request: some records each, in their order.
CREATE TABLE mirror.job_parts (
    job VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    recnums VARCHAR NOT NULL,     -- JSON list
    upstream_id VARCHAR,          -- once upstream has accepted it
    tar VARCHAR,                  -- sha256 of the tar file it ended in, once that is in the store
    files VARCHAR                 -- JSON, once the part is done: what became of it
);
