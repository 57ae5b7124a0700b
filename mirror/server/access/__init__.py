"""Who may do what: roles of routes, credentials, CSRF, and the refusals.

Read ``roles``, then ``gate``.
"""
