-- What tokens with a quota have used, one row per server, so that a quota holds for all servers together.
CREATE TABLE taken (
    who TEXT NOT NULL,                -- the name of the token
    server TEXT NOT NULL,
    day TEXT NOT NULL,                -- 2026-11-22, of the bytes
    bytes BIGINT NOT NULL,
    upstream_bytes BIGINT NOT NULL,
    requests BIGINT NOT NULL,         -- since that server started, or reset the count
    remaining DOUBLE PRECISION NOT NULL, -- requests that may still come at once, as of `at`
    at DOUBLE PRECISION NOT NULL,     -- Unix seconds
    PRIMARY KEY (who, server)
);
