"""JSOC's own paths: its programs, files and exports, and the proxy for what else it serves.

Read ``programs``, then ``jsoc_fetch`` and ``files``; ``proxy`` passes on what is not answered here.
"""
