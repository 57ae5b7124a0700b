"""The language of DRMS, as pure values: series, times, slots, record sets, conditions, exports.

Read ``series``, ``parser`` (a record set as written), ``selection`` (bound to its series), then ``where``.
"""
