"""HTTP: JSOC's paths, our own interface and pages, and who is admitted.

Read ``app`` (in which order a request is handled), ``requests`` and ``errors``; then ``jsoc`` and ``api``.
"""
