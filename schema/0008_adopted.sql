-- Files that people had already, but that are not the archive's: FITS files as JSOC exported them, with the
-- record's keywords in the header. They are holdings of their own kind, and never served below /SUM.
CREATE TABLE mirror.adopted (
    series VARCHAR NOT NULL,      -- lower case
    recnum BIGINT NOT NULL,
    segment VARCHAR NOT NULL,     -- lower case
    kind VARCHAR NOT NULL,        -- "fits": an export with protocol fits
    name VARCHAR NOT NULL,        -- the file's name when it was adopted
    link VARCHAR,                 -- its name in the readable tree, relative to it
    adopted_at DOUBLE NOT NULL,   -- Unix seconds
    head BIGINT NOT NULL,         -- of the blob, as in mirror.blobs
    sha256 VARCHAR NOT NULL
);
