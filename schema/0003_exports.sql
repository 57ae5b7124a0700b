-- Exports that resume: why a job waits, what it is divided into, and which of its files are made of printed values.

ALTER TABLE mirror.jobs ADD COLUMN tries INTEGER;      -- attempts in a row without progress; NULL: none
ALTER TABLE mirror.jobs ADD COLUMN waited DOUBLE;      -- seconds between them, in total
ALTER TABLE mirror.jobs ADD COLUMN next_at DOUBLE;     -- when the next attempt is due
ALTER TABLE mirror.jobs ADD COLUMN why VARCHAR;        -- what ended the last attempt, for people

ALTER TABLE mirror.job_files ADD COLUMN printed BOOLEAN;  -- true if its keywords are printed values

-- The upstream requests of a job that needs more than one: some records each, in order.
CREATE TABLE mirror.job_parts (
    job VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    recnums VARCHAR NOT NULL,     -- JSON list
    upstream_id VARCHAR,          -- once upstream has accepted it
    tar VARCHAR,                  -- sha256 of the resulting tar file, once that is in the store
    files VARCHAR                 -- JSON of the result, once the part is done
);
