"""Several mirrors that share what they fetch: PostgreSQL says who has and who fetches what, an object store has it.

Read ``database`` (the way to PostgreSQL, and who is there), ``journal`` (what is written down), ``chunks`` (records as
objects), then ``shared``, which puts them together for the read-through. Nothing here is imported without ``[cluster]``
in the configuration.
"""
