"""The two read-throughs: what is cached is answered, what is missing is fetched once, kept, and answered.

Read ``records``, ``filler``, ``rechecks`` and ``answers``; then ``files`` and ``downloads``. ``policy`` says when JSOC may be asked.
"""
