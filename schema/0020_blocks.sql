-- Which state of the file of blocks (blocks.sqlite) belongs to this state of the index.

CREATE TABLE mirror.block_file (
    token VARCHAR NOT NULL        -- one row: of the last blocks that were written there
);
