"""SQL of users: accepted, run in a process that can be killed, and streamed back.

``worker`` is that process, ``processes`` keeps some of them, ``service`` puts a question together. ``messages``
has what they say to each other.
"""
