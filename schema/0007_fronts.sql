-- Exported FITS files are not stored: their data are in the archived blob, only the headers are new. The front
-- of such a file is kept here; the rest comes from the blob.

CREATE TABLE mirror.fronts (
    head BIGINT NOT NULL,         -- of sha256, as in mirror.blobs
    sha256 VARCHAR NOT NULL,      -- of the unpacked data
    data BLOB NOT NULL            -- packed by zlib
);

-- With a front, the sha256 of a job's file is that of the blob with its data, and size that of the whole file. The
-- file is the front, then the blob's bytes from front_start on, until size is reached.
ALTER TABLE mirror.job_files ADD COLUMN front VARCHAR;
ALTER TABLE mirror.job_files ADD COLUMN front_size BIGINT;
ALTER TABLE mirror.job_files ADD COLUMN front_start BIGINT;
