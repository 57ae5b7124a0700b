-- Objects that no row of the journal names since rows were folded; they are deleted when nobody can be reading them.
CREATE TABLE spent (
    object TEXT PRIMARY KEY,
    since TIMESTAMPTZ NOT NULL DEFAULT now()
);
