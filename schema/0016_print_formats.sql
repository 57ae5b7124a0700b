-- By what formats the keywords of a series print, as show_info tells with its flag t.

CREATE TABLE mirror.print_formats (       -- mirror.readthrough.structures
    key VARCHAR NOT NULL,                 -- the name of a series, lower case
    value VARCHAR NOT NULL,               -- JSON object: by lower-case keyword its format; of a time its decimals
    noted_at DOUBLE NOT NULL              -- Unix seconds
);
