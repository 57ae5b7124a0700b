"""SQL over everything that is cached, and statements saved under a name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from mirror.api.contract import Answer, Asked, Endpoint, Nothing

Form = Literal["json", "arrow", "csv", "parquet"]
MEDIA: dict[Form, str] = {
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


Statement = Annotated[str, Meta(description="SQL", examples=["SELECT count(*) FROM hmi.v_45s"])]


class SqlForm(Asked, frozen=True, kw_only=True):
    """The form of an answer; by default the one in the header Accept, else JSON."""

    format: Form | None = None


class SqlParameters(SqlForm, frozen=True, kw_only=True):
    """A statement in the query; ``params`` are JSON."""

    query: Statement
    params: Annotated[str | None, Meta(description="JSON: values for ?, or by name for $name")] = None
    fill: bool = False


class SqlQuery(Asked, frozen=True, kw_only=True):
    """A statement; ``params``: values for ``?``, or by name for ``$name``. ``fill``: first fetch what jsoc() lacks."""

    query: Statement
    params: list[Any] | dict[str, Any] | None = None
    fill: bool = False


class SqlColumn(Answer, frozen=True, kw_only=True):
    """A column: its name, and its type in DuckDB's words."""

    name: str
    type: str


class SqlAnswer(Answer, frozen=True, kw_only=True):
    """Columns, and rows of values; what JSON cannot represent is text."""

    columns: list[SqlColumn]
    rows: list[list[Any]]


class Query(Answer, frozen=True, kw_only=True):
    """A saved statement; ``saved_at`` in Unix seconds."""

    name: str
    sql: str
    saved_by: str
    saved_at: float


class QueryBody(Asked, frozen=True, kw_only=True):
    """A name of at most 80 characters, and a statement."""

    name: str = ""
    sql: str = ""


class QueryName(Asked, frozen=True, kw_only=True):
    """The name of a statement."""

    name: str = ""


class ForgottenQuery(Answer, frozen=True, kw_only=True):
    """The name of a statement that is no longer saved."""

    name: str


_SQL = (
    "One statement, answered as JSON, Arrow, CSV or Parquet; see SQL. Errors are reported before anything is sent; "
    "an answer that fails midway is cut off, so that no client takes it for complete."
)
GET_SQL = Endpoint(
    method="GET", path="/api/sql", role="read", asked=SqlParameters, answer=SqlAnswer, media=tuple(MEDIA.values()), text=_SQL,
)  # fmt: skip
SQL = Endpoint(
    method="POST", path="/api/sql", role="read", asked=SqlQuery, beside=SqlForm, answer=SqlAnswer,
    media=tuple(MEDIA.values()), text=f"{_SQL} A body that is not JSON is the statement itself.",
)  # fmt: skip
QUERIES = Endpoint(
    method="GET", path="/api/queries", role="read", asked=Nothing, answer=list[Query],
    text="The saved statements, shared by all users.",
)  # fmt: skip
SAVE_QUERY = Endpoint(
    method="POST", path="/api/queries", role="export", asked=QueryBody, answer=Query, status=201,
    text="Save a statement; replaces one of the same name.",
)  # fmt: skip
REMOVE_QUERY = Endpoint(
    method="DELETE", path="/api/queries", role="export", asked=QueryName, answer=ForgottenQuery,
    text="Delete a saved statement.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (GET_SQL, SQL, QUERIES, SAVE_QUERY, REMOVE_QUERY)
