-- Small answers were rows of one table, `facts`, distinguished by kind. Now each kind has a table of its own, with one
-- module that writes it, by means of mirror.storage.database.keyed.

CREATE TABLE mirror.series_lists (        -- mirror.readthrough.lists
    key VARCHAR NOT NULL,                 -- the program that lists: show_series, showextseries, showextseries notes
    value VARCHAR NOT NULL,               -- JSON list of name, prime keys and note
    noted_at DOUBLE NOT NULL              -- Unix seconds
);
INSERT INTO mirror.series_lists SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'list';

CREATE TABLE mirror.addresses (           -- mirror.readthrough.lists
    key VARCHAR NOT NULL,                 -- an e-mail address that is registered, lower case
    value VARCHAR NOT NULL,               -- JSOC's message about it
    noted_at DOUBLE NOT NULL
);
INSERT INTO mirror.addresses SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'address';

CREATE TABLE mirror.absent_series (       -- mirror.readthrough.structures
    key VARCHAR NOT NULL,                 -- a name, lower case, that JSOC said is no series
    value VARCHAR NOT NULL,               -- empty
    noted_at DOUBLE NOT NULL
);
INSERT INTO mirror.absent_series SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'no such series';

CREATE TABLE mirror.linked_keywords (     -- mirror.services.exports.assembling
    key VARCHAR NOT NULL,                 -- the query of a record at the end of a link
    value VARCHAR NOT NULL,               -- JSON object of its printed keywords
    noted_at DOUBLE NOT NULL
);
INSERT INTO mirror.linked_keywords SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'linked texts';

CREATE TABLE mirror.precise_keywords (    -- mirror.services.exports.assembling
    key VARCHAR NOT NULL,                 -- series, lower case, a colon and the record number
    value VARCHAR NOT NULL,               -- JSON object of its keywords as printed at full precision
    noted_at DOUBLE NOT NULL
);
INSERT INTO mirror.precise_keywords SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'precise';

CREATE TABLE mirror.budget (              -- mirror.services.estimates.tables
    key VARCHAR NOT NULL,                 -- 'budget'
    value VARCHAR NOT NULL,               -- JSON of the used budget
    noted_at DOUBLE NOT NULL
);
INSERT INTO mirror.budget SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'budget';

CREATE TABLE mirror.fills (               -- mirror.services.fills.fills
    key VARCHAR NOT NULL,                 -- the id of a fill
    value VARCHAR NOT NULL,               -- JSON of its request and state
    noted_at DOUBLE NOT NULL
);
INSERT INTO mirror.fills SELECT key, value, fetched_at FROM mirror.facts WHERE kind = 'fill';

CREATE TABLE mirror.job_numbers (         -- mirror.services.exports.jobs
    day VARCHAR NOT NULL,                 -- as in the ids of that day's export requests
    number INTEGER NOT NULL               -- the highest in use
);
INSERT INTO mirror.job_numbers SELECT key, value::INTEGER FROM mirror.facts WHERE kind = 'job number';

DROP TABLE mirror.facts;
