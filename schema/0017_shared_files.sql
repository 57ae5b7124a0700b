-- Files of storage units that lie beside the objects of the cluster too, so that they may leave this store at will.
-- A copy of what the cluster's database says, for choosing what to evict, and for finding what is to be put there still.
CREATE TABLE mirror.shared_files (
    sunum BIGINT NOT NULL,
    slot INTEGER NOT NULL,
    file VARCHAR NOT NULL,
    head BIGINT NOT NULL,         -- of the blob, as in mirror.blobs
    sha256 VARCHAR NOT NULL
);
