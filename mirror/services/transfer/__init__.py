"""Backups and bundles: the store, or a part of it, copied and restored.

Read ``backup`` and ``restore``, then ``bundle`` and ``import_``.
"""
