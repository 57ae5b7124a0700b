"""What is on the disk: the DuckDB file, records and coverage in it, files by their contents, Parquet files for SQL.

Read ``database``, then ``index``, ``files`` and ``lake``.
"""
