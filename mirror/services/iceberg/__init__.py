"""The lake as Iceberg tables, for any engine that reads them: ``tables`` writes them, ``publisher`` says when and what.

pyiceberg is imported when something is published for the first time.
"""
