"""What the process for statements says of an error."""

from __future__ import annotations

import io
from types import SimpleNamespace

from mirror.services.sql import worker
from mirror.services.sql.messages import Limits, Question


def test_an_error_that_nobody_has_foreseen_is_told_and_is_the_last(monkeypatch):
    monkeypatch.setattr(worker, "_limit_work", lambda _: None)

    def cursor():
        raise OverflowError("date value out of range")

    engine = SimpleNamespace(threads=1, connection=SimpleNamespace(cursor=cursor), has_grown=lambda: False)
    question, out = Question("SELECT 1", [], "json", (), Limits(), None, ()), io.BytesIO()
    assert not worker.respond(engine, question, io.BytesIO(), out)
    assert b"internal error in this statement: date value out of range" in out.getvalue()
