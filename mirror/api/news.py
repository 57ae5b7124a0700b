"""News: new data of subscriptions, and what JSOC has reprocessed."""

from __future__ import annotations

from typing import Any, Literal

from mirror.api.contract import Answer, Asked, Count, Endpoint, Stamp

NewsKind = Literal["new", "reprocessed"]


class NewsQuery(Asked, frozen=True, kw_only=True):
    """The last ``n`` of them, of a series if one is named."""

    series: str | None = None
    n: Count = 100


class NewsItem(Answer, frozen=True, kw_only=True):
    """New data of a series up to ``newest``; or ``records`` reprocessed, of which ``withdrawn`` have no new version.

    ``id`` increases; ``names`` are those of some of the records; ``text`` says it for people.
    """

    id: int
    at: Stamp
    kind: NewsKind
    series: str
    records: int
    newest: str | None
    withdrawn: int
    names: list[str]
    text: str


NEWS = Endpoint(
    method="GET", path="/api/news", role="read", asked=NewsQuery, answer=list[NewsItem],
    text="New data of subscriptions and reprocessed records, newest first.",
)  # fmt: skip
FEED = Endpoint(
    method="GET", path="/api/feed.atom", role="read", asked=NewsQuery, answer=str, media=("application/atom+xml",),
    text="The same as an Atom feed, for feed readers.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (NEWS, FEED)
