"""Records in the database: a table a series, and the coverage that vouches for them.

Read ``index``, ``layout``, ``rows``, ``merge``, then ``reader`` and ``select_sql``.
"""
