"""From the contract of a path to its handler in the router: requests are decoded, answers encoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiohttp import web

from mirror.api.contract import JSON, Asked, Nothing, encoded
from mirror.api.reading import from_object, from_query
from mirror.errors import BadRequest
from mirror.server.requests import parameters, parse_json
from mirror.wire.params import decode_params

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mirror.api.contract import Endpoint

Q = TypeVar("Q", bound=Asked)
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Reply(Generic[A]):
    """An answer with headers, or with another code than usual; ``packed``: compressed if the client accepts that."""

    answer: A
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    packed: bool = False


def serve(
    router: web.UrlDispatcher,
    endpoint: Endpoint[Q, A],
    handler: Callable[[web.Request, Q], Awaitable[A | Reply[A] | web.StreamResponse]],
) -> None:
    """Have a handler answer at the path of an endpoint: it gets the decoded request, and returns the answer."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = await handler(request, await asked(request, endpoint))
        return reply if isinstance(reply, web.StreamResponse) else response(reply, endpoint.status)

    path = endpoint.pattern or endpoint.path
    if endpoint.method == "GET":
        router.add_get(path, answer)  # HEAD too
    else:
        router.add_route(endpoint.method, path, answer)


async def asked(request: web.Request, endpoint: Endpoint[Q, Any]) -> Q:
    """The decoded request to an endpoint; BadRequest for invalid input."""
    if endpoint.asked is Nothing:
        return endpoint.asked()
    if endpoint.by_query:
        of_query = request.method == "POST"  # the body is a file
        given = decode_params(request.rel_url.raw_query_string) if of_query else await parameters(request)
        return from_query(given, endpoint.asked)
    if request.content_type != JSON:
        raise BadRequest(f"expected a JSON object, with the header Content-Type: {JSON}")
    return from_object(parse_json(await request.read(), "the body"), endpoint.asked)


def response(answer: Any, status: int = 200) -> web.Response:
    """An answer as JSON."""
    whole = answer if isinstance(answer, Reply) else Reply(answer)
    made = web.Response(
        body=encoded(whole.answer), status=whole.status or status, headers=whole.headers, content_type=JSON,
        charset="utf-8",
    )  # fmt: skip
    if whole.packed:
        made.enable_compression()
    return made
