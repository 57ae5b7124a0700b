-- The state of the block file (blocks.sqlite) that belongs to this state of the index.

CREATE TABLE mirror.block_file (
    token VARCHAR NOT NULL        -- one row: the token of the last blocks written there
);
