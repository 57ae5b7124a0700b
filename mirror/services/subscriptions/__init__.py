"""Subscriptions keep chosen series up to date.

Read ``manager``, ``worker``, then ``window`` and ``scope``.
"""
