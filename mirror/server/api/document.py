"""The contract of the API as OpenAPI 3.1, derived from the table of endpoints, so that it matches the server."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from mirror import __version__
from mirror.api.contract import JSON, Endpoint, Nothing, Problem, encoded
from mirror.api.endpoints import CAPABILITIES, DOCUMENT
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

Schema = dict[str, Any]
_REF = "#/components/schemas/{name}"
#: Errors that any request may get; other codes are described under ``default``.
_ERRORS = {
    "400": "The request is wrong; the error says what was expected, and where.",
    "401": "A token is missing or invalid.",
    "403": "The role of the user is not sufficient, or this is never allowed.",
}
_ABOUT = (
    "A caching mirror of JSOC, with JSON requests and answers. Empty parameters and null members count as absent. "
    'An error is `{"error": ...}` with an HTTP code. `x-role` is the role that a path requires; the documentation '
    "describes roles under access."
)


class Document:
    """The handler of /api/openapi.json."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the document."""
        serve(router, DOCUMENT, self.document)

    async def document(self, _: web.Request, __: Nothing) -> Schema:
        """The document."""
        return openapi()


@cache
def openapi() -> Schema:
    """The whole document; it must not be modified."""
    schemas = _Schemas()
    paths: dict[str, Schema] = {}
    for capability, endpoints in CAPABILITIES.items():
        for endpoint in endpoints:
            operation = _operation(endpoint, capability, schemas)
            paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    document = {
        "openapi": "3.1.0",
        "info": {"title": "jsoc-mirror", "version": __version__, "description": _ABOUT},
        "tags": [{"name": capability} for capability in CAPABILITIES],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    made: Schema = msgspec.json.decode(encoded(document))  # as it is sent, without tuples
    return made


class _Schemas:
    """Schemas of types, the objects among them as components."""

    def __init__(self) -> None:
        endpoints = [e for each in CAPABILITIES.values() for e in each]
        kinds = {repr(kind): kind for e in endpoints for kind in (e.asked, e.beside, e.answer) if kind is not bytes}
        schemas, self.components = msgspec.json.schema_components([*kinds.values(), Problem], ref_template=_REF)
        self._by_kind = dict(zip(kinds, schemas, strict=False))

    def of(self, kind: Any) -> Schema:
        """The schema of an answer or a body."""
        return {"type": "string"} if kind is bytes else self._by_kind[repr(kind)]

    def fields(self, kind: type[msgspec.Struct]) -> Iterator[tuple[str, Schema, bool]]:
        """Name, schema and whether it is required, of each member of an object."""
        whole = self.components[kind.__name__]
        for name, schema in whole["properties"].items():
            yield name, schema, name in whole.get("required", ())


def _operation(endpoint: Endpoint[Any, Any], capability: str, schemas: _Schemas) -> Schema:
    made: Schema = {
        "operationId": _name(endpoint),
        "tags": [capability],
        "summary": endpoint.text.split(". ")[0].rstrip("."),
        "description": endpoint.text,
        "x-role": endpoint.role,
        "security": [] if endpoint.role == "nobody" else [{"token": []}, {}],
        "parameters": [*_parameters(endpoint, schemas)],
        "responses": {**_answers(endpoint, schemas), **_problems(endpoint)},
    }
    if not endpoint.by_query and endpoint.asked is not Nothing:
        body = {JSON: {"schema": schemas.of(endpoint.asked)}}
        made["requestBody"] = {"required": True, "content": body}
    elif endpoint.taken != JSON:
        made["requestBody"] = {"required": True, "content": {endpoint.taken: {"schema": {"type": "string"}}}}
    return made


def _name(endpoint: Endpoint[Any, Any]) -> str:
    parts = [part.strip("{}").replace("-", "_").replace(".json", "") for part in endpoint.path.split("/") if part]
    return "_".join([endpoint.method.lower(), *(part for part in parts if part != "api")])


def _parameters(endpoint: Endpoint[Any, Any], schemas: _Schemas) -> Iterator[Schema]:
    for name in endpoint.names:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, schema, needed in schemas.fields(endpoint.asked if endpoint.by_query else endpoint.beside):
        yield {"name": name, "in": "query", "required": needed, "schema": _never_null(schema)}


def _never_null(schema: Schema) -> Schema:
    """A parameter is left out instead of being null."""
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**rest, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})} if kinds else schema


def _answers(endpoint: Endpoint[Any, Any], schemas: _Schemas) -> Schema:
    content = {kind: _content(endpoint, kind, schemas) for kind in endpoint.media}
    answer = {"description": endpoint.text, "content": content}
    codes = (endpoint.status, *(() if endpoint.failing is None else (endpoint.failing,)))
    return {str(code): answer for code in codes}


def _content(endpoint: Endpoint[Any, Any], kind: str, schemas: _Schemas) -> Schema:
    schema = schemas.of(endpoint.answer)
    if endpoint.lines:
        done = {"type": "object", "properties": {"done": schema}, "required": ["done"]}
        words = {"type": "object", "properties": {"step": {"type": "string"}}, "required": ["step"]}
        return {"schema": {"description": "A line of these each.", "anyOf": [words, done, _problem()]}}
    return {"schema": schema if kind == JSON else {"type": "string"}}


def _problems(endpoint: Endpoint[Any, Any]) -> Schema:
    content = {JSON: {"schema": _problem()}}
    codes = {
        code: {"description": text, "content": content}
        for code, text in _ERRORS.items()
        if (code == "400") <= (endpoint.asked is not Nothing) and (code == "400" or endpoint.role != "nobody")
    }
    return {**codes, "default": {"description": "What went wrong.", "content": content}}


def _problem() -> Schema:
    return {"$ref": _REF.format(name=Problem.__name__)}
