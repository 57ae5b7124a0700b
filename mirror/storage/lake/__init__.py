"""The same columns as sorted Parquet, a file a month, for SQL.

Read ``lake``, then ``parquet``.
"""
