"""Conditions as PostgreSQL answers them, by an evaluator of the simulator's own.

It shares neither grammar nor query engine with the mirror, so that the two can be checked against each other.
"""

from mirror.simulator.sql.condition import Condition, read_condition
from mirror.simulator.sql.parse import closes_early

__all__ = ["Condition", "closes_early", "read_condition"]
