-- Subscriptions: what is remembered of each across restarts. Records and holdings show how far it is.

CREATE TABLE mirror.subscriptions (
    name VARCHAR NOT NULL,          -- its name in config.toml, or an identifier of its content
    looked DOUBLE NOT NULL,         -- when upstream was last asked for news, Unix seconds; 0: never
    period DOUBLE NOT NULL,         -- when the budget period of `used` began
    used BIGINT NOT NULL,           -- bytes of files that came in it
    typical BIGINT NOT NULL         -- bytes of a file, recently
);
