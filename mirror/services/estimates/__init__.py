"""How much a request is before anything is fetched, and what the budget towards JSOC has left.

Read ``estimates``.
"""
