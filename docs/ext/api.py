"""The reference of our own API, made of the document that a mirror serves at ``/api/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mirror.server.api.document import openapi

Schema = dict[str, Any]
_HEAD = """# The API

<!-- Made by docs/ext/api.py of the contract in mirror/api. -->

The mirror's own paths, for scripts, pages and other programs. The same is at `/api/openapi.json` of every mirror, as
[OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0) that tools make clients of. From Python there is
[`mirror.Client`](python.md).

Parameters of GET come in the query, those of other methods as members of a JSON object with
`Content-Type: application/json`. An empty parameter is as good as none, and so is a member that is null. What goes
wrong is `{"error": "..."}` with a code of HTTP, and says what was wrong, what was expected, and which member. Members
that are marked "perhaps" are left out where they do not apply. The role that a path needs is told with it; who has
which is told under [access](../access.md).

```sh
curl -s 'http://localhost:8040/api/search?ds=hmi.v_45s[2014.01.01_TAI/3m]&key=T_REC,CRLT_OBS'
```
"""


def page() -> str:
    """The page, in Markdown."""
    document = openapi()
    schemas = document["components"]["schemas"]
    parts = [_HEAD]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n")
        parts += [
            "\n".join(_operation(method, path, operation, schemas))
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if operation["tags"] == [tag["name"]]
        ]
    parts += ["## Objects\n", "What answers and requests are made of.\n"]
    parts += ["\n".join(_object(name, schema)) for name, schema in sorted(schemas.items()) if schema.get("properties")]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Schema, schemas: Schema) -> Iterator[str]:
    yield f"### `{method.upper()}` `{path}`\n"
    yield f"{operation['description']}\n"
    rows = [(p["name"], p["schema"], p["required"]) for p in operation["parameters"]]
    body = next(iter(operation.get("requestBody", {}).get("content", {}).items()), None)
    if body is not None and "$ref" in body[1]["schema"]:
        asked = schemas[_name(body[1]["schema"])]
        rows += [(n, s, n in asked.get("required", ())) for n, s in asked["properties"].items()]
    if rows:
        yield "| takes | which is | |\n|---|---|---|"
        yield from (f"| `{name}` | {_kind(schema)} | {'needed' if needed else ''} |" for name, schema, needed in rows)
        yield ""
    code, answer = next(iter(operation["responses"].items()))
    kinds = [kind for kind in answer["content"] if kind != "application/json"]
    schema = answer["content"].get("application/json", {}).get("schema")
    told = " or ".join([*([_kind(schema)] if schema else []), *(f"`{kind}`" for kind in kinds)])
    yield f"Answers {told}, with code {code}. Role: {operation['x-role']}.\n"


def _object(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if "description" in schema:
        yield f"{' '.join(schema['description'].replace('``', '`').split())}\n"
    yield "| member | which is | |\n|---|---|---|"
    needed = schema.get("required", ())
    yield from (
        f"| `{member}` | {_kind(kind)} | {'' if member in needed else 'perhaps'} |"
        for member, kind in schema["properties"].items()
    )
    yield ""


def _kind(schema: Schema) -> str:
    """What a value is, in a few words."""
    if "$ref" in schema:
        return f"[{_name(schema)}](#{_name(schema).lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join("null" if value is None else f"`{value}`" for value in schema["enum"])
    kind = {"integer": "whole number", "boolean": "true or false", "string": "text"}.get(
        schema.get("type", ""), schema.get("type", "anything")
    )
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    words = schema.get("description", "")
    return f"{kind}: {words}" if words else kind


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
