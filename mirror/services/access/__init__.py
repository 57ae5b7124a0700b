"""Authentication, tokens, sessions, audit and usage.

Read ``authentication`` first.
"""
