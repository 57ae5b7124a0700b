-- Which cluster this mirror is in, and how far it has followed it.

CREATE TABLE mirror.cluster_state (       -- mirror.cluster.shared
    key VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    noted_at DOUBLE NOT NULL              -- Unix seconds
);
