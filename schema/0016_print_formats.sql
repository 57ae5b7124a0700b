-- The formats by which the keywords of a series print, from show_info with its flag t.

CREATE TABLE mirror.print_formats (       -- mirror.readthrough.structures
    key VARCHAR NOT NULL,                 -- the name of a series, lower case
    value VARCHAR NOT NULL,               -- JSON object: lower-case keyword to format; for a time its decimals
    noted_at DOUBLE NOT NULL              -- Unix seconds
);
