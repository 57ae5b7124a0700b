-- What was done that changes the mirror itself, and by whom: one row an attempt, refused ones too.
CREATE TABLE mirror.audit (
    moment DOUBLE NOT NULL,       -- Unix seconds
    who VARCHAR NOT NULL,         -- "token:ada", or the address
    address VARCHAR NOT NULL,     -- where it came from
    action VARCHAR NOT NULL,      -- "POST /api/forget", "login"
    about VARCHAR NOT NULL,       -- what was sent with it, shortened, as JSON; "" if nothing
    code INTEGER NOT NULL         -- the HTTP code of the answer
);
