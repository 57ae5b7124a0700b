-- JSOC's plain files, which its web server has below /data and /doc/data. The file at a path may change, so each is
-- checked now and then. The last two columns name the blob with its content.
CREATE TABLE mirror.plain_files (
    path VARCHAR NOT NULL,        -- in its one spelling, without a query
    kind VARCHAR NOT NULL,        -- Content-Type, Content-Encoding, ETag, Last-Modified as JSOC sent them; "": missing
    encoding VARCHAR NOT NULL,
    tag VARCHAR NOT NULL,
    modified VARCHAR NOT NULL,
    checked_at DOUBLE NOT NULL,   -- when JSOC last confirmed it, Unix seconds
    head BIGINT NOT NULL,         -- of the blob, as in mirror.blobs
    sha256 VARCHAR NOT NULL
);
