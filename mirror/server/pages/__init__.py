"""The pages that people see in a browser.

Read ``site`` (templates and static files), then ``overview`` and ``search``.
"""
