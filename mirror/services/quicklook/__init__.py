"""Pictures of files, made by a process of their own.

Read ``quicklook``, then ``process`` and ``render``.
"""
