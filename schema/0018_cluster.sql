-- How far this mirror has followed the cluster that it is in, and which one that is.

CREATE TABLE mirror.cluster_state (       -- mirror.cluster.shared
    key VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    noted_at DOUBLE NOT NULL              -- Unix seconds
);
