"""Synthetic series: any record of some forty series of JSOC at any time, the same at every start.

Nothing is stored. Which records exist is arithmetic on slots (``population``, ``selecting``); their values are computed
on request by column functions (``columns`` and the module of each instrument), with chance from hashes (``noise``) and
positions from an ephemeris; ``printing`` prints them. The structures are files of ``mirror/simulator/data``.
"""

from mirror.simulator.synthetic.catalogue import synthetic_series

__all__ = ["synthetic_series"]
