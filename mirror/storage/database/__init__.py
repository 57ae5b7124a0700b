"""The DuckDB file: its one connection, memory, migrations and damage.

Read ``database``, then ``connection``.
"""
