-- Statements that people save under a name, for themselves and for others.
CREATE TABLE mirror.queries (
    name VARCHAR NOT NULL,
    sql VARCHAR NOT NULL,
    saved_by VARCHAR NOT NULL,    -- who saved it, as in mirror.usage
    saved_at DOUBLE NOT NULL      -- Unix seconds
);
