-- Actions that change the mirror itself, and by whom: one row per attempt, including refused ones.
CREATE TABLE mirror.audit (
    moment DOUBLE NOT NULL,       -- Unix seconds
    who VARCHAR NOT NULL,         -- "token:ada", or the address
    address VARCHAR NOT NULL,     -- where it came from
    action VARCHAR NOT NULL,      -- "POST /api/forget", "login"
    about VARCHAR NOT NULL,       -- what was sent along, shortened, as JSON; "" if nothing
    code INTEGER NOT NULL         -- the HTTP code of the answer
);
