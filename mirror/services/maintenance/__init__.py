"""Checks and repair of everything cached, eviction, and giving data up.

Read ``upkeep``, then ``checker`` and ``check_plan``.
"""
