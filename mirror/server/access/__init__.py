"""Who may do what: credentials, roles, CSRF, and the refusals.

Read ``gate``; ``mirror.server.roles`` has the role of each route.
"""
