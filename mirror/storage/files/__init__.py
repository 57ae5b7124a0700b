"""Files by the sha256 of their content, and which record's file each is.

Read ``blobs``, ``incoming``, ``holdings``, then ``eviction``.
"""
