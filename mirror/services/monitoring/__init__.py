"""What status, metrics and the pages show: counts, coverage maps, whether JSOC answers.

Read ``status``, then ``measures`` (for Prometheus) and ``overview`` (for the front page).
"""
