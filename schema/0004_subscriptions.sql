-- Subscriptions: what is remembered of each between two starts. How far it is, records and holdings tell.

CREATE TABLE mirror.subscriptions (
    name VARCHAR NOT NULL,          -- its name in config.toml, or a sign of its content
    looked DOUBLE NOT NULL,         -- when upstream was last asked for what is new, Unix seconds; 0: never
    period DOUBLE NOT NULL,         -- when the period of the budget began that `used` is about
    used BIGINT NOT NULL,           -- bytes of files that came in it
    typical BIGINT NOT NULL         -- bytes of a file, as of late
);
