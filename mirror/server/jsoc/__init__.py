"""JSOC's own paths: its programs, files and exports, and the proxy for everything else that it serves.

Read ``programs``, then ``files``; ``proxy`` passes on what is not answered here.
"""
