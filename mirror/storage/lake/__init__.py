"""The index's columns as sorted Parquet, one file per month, for SQL.

Read ``lake``, then ``columns``, ``table`` and ``unsealed``.
"""
