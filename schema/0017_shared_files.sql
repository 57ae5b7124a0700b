-- Files of storage units that are also among the cluster's objects, so that they may leave this store at will. A copy
-- of what the cluster's database says, to choose what to evict, and to find what must still be put there.
CREATE TABLE mirror.shared_files (
    sunum BIGINT NOT NULL,
    slot INTEGER NOT NULL,
    file VARCHAR NOT NULL,
    head BIGINT NOT NULL,         -- of the blob, as in mirror.blobs
    sha256 VARCHAR NOT NULL
);
