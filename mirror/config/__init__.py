"""config.toml: one frozen tree with defaults, checked whole.

Read ``sections`` (what there is), ``readers`` (how a value is read), ``loading``; ``editing`` and ``watching`` change it at run time.
"""
