"""Backups and bundles: the store, or a part of it, copied and brought back.

Read ``backup`` and ``restore``, then ``bundle`` and ``import_``.
"""
