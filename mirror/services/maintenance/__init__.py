"""Checks and repair of everything cached, eviction, and forgetting data.

Read ``upkeep``, then ``checker`` and ``check_plan``.
"""
