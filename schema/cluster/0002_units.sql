-- Files of storage units among the objects: the content of /SUMn/D<sunum>/S<slot>/<file> is blobs/ab/<sha256>.
CREATE TABLE units (
    sunum BIGINT NOT NULL,
    slot INT NOT NULL,
    file TEXT NOT NULL,
    disk TEXT NOT NULL,               -- the first part of the path as last seen, "SUM12"
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    server TEXT NOT NULL,             -- who put it there
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (sunum, slot, file)
);
CREATE INDEX units_by_content ON units (sha256);

-- The record and segment of a file, if a server that had it knew them; several records may have one file.
CREATE TABLE unit_records (
    series TEXT NOT NULL,             -- lower case, and so is the segment
    recnum BIGINT NOT NULL,
    segment TEXT NOT NULL,
    sunum BIGINT NOT NULL,
    slot INT NOT NULL,
    file TEXT NOT NULL,
    PRIMARY KEY (series, recnum, segment),
    FOREIGN KEY (sunum, slot, file) REFERENCES units ON DELETE CASCADE
);
CREATE INDEX unit_records_by_file ON unit_records (sunum, slot, file);
