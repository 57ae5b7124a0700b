"""Records in the database: one table per series, and the coverage that vouches for them.

Read ``index``, ``layout``, ``rows``, ``merge``, then ``reader``, ``select_sql``, ``windows`` and ``blocks``.
"""
