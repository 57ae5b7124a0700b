"""Searches: what jsoc_info answers, as columns, with the checks and code snippets of the search page.

Read ``search``, then ``columns``.
"""
