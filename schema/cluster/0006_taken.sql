-- What tokens with a quota have taken, a row for each server that answered them: so that a quota is one for all.
CREATE TABLE taken (
    who TEXT NOT NULL,                -- the name of the token
    server TEXT NOT NULL,
    day TEXT NOT NULL,                -- 2026-11-22, of the bytes
    bytes BIGINT NOT NULL,
    upstream_bytes BIGINT NOT NULL,
    requests BIGINT NOT NULL,         -- since that server began, or forgot them
    remaining DOUBLE PRECISION NOT NULL, -- requests that may still come at once, as of ...
    at DOUBLE PRECISION NOT NULL,     -- ... then, in Unix seconds
    PRIMARY KEY (who, server)
);
