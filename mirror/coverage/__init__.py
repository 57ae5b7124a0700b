"""What is held, and what must be asked for, as pure values.

Read ``intervals``, ``axis``, ``coverage``, then ``plan``.
"""
