"""What is held and what must be asked, as pure values.

Read ``intervals``, ``axis``, ``coverage``, then ``plan``.
"""
