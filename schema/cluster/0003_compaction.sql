-- Objects that no row of the journal names any more since rows were folded into fewer; they go when nobody can read them.
CREATE TABLE spent (
    object TEXT PRIMARY KEY,
    since TIMESTAMPTZ NOT NULL DEFAULT now()
);
