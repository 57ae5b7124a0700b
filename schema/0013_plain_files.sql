-- JSOC's plain files, which its web server has below /data and /doc/data: what lies at a path may change, so that
-- each is checked now and then. The last two columns are the blob that holds it.
CREATE TABLE mirror.plain_files (
    path VARCHAR NOT NULL,        -- in its one spelling, without a query
    kind VARCHAR NOT NULL,        -- Content-Type, Content-Encoding, ETag and Last-Modified as JSOC gave them; "": not
    encoding VARCHAR NOT NULL,
    tag VARCHAR NOT NULL,
    modified VARCHAR NOT NULL,
    checked_at DOUBLE NOT NULL,   -- when JSOC last said that it is so, Unix seconds
    head BIGINT NOT NULL,         -- of the blob, as in mirror.blobs
    sha256 VARCHAR NOT NULL
);
