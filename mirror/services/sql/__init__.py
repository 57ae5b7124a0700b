"""SQL of users: accepted, run in a process that can be killed, and streamed back.

``worker`` is that process, ``workers`` keeps some of them, ``service`` puts a question together. What they
say to each other is in ``question`` and ``frames``.
"""
