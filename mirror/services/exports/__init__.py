"""Export requests: planned, staged at JSOC where needed, and served as virtual directories.

Read ``requests``, ``planning``, ``worker``, ``making``, then ``staging``.
"""
