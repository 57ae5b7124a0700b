-- Statements that people keep under a name, for themselves and for others.
CREATE TABLE mirror.queries (
    name VARCHAR NOT NULL,
    sql VARCHAR NOT NULL,
    saved_by VARCHAR NOT NULL,    -- who asked, as requests are counted by
    saved_at DOUBLE NOT NULL      -- Unix seconds
);
