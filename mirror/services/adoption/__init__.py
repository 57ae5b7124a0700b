"""Files that people have already, recognized and added to the store.

Read ``adopt``, ``scan``, ``match``.
"""
