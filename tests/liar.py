"""An S3 in this process that has one bad habit, for tests of what a store may do that is not to be trusted."""

from __future__ import annotations

import asyncio

from aiohttp import web


class Liar:
    """An S3 with one bad habit, which may change; "none" is a good one. ``asked``: how often it was."""

    def __init__(self, habit: str = "none") -> None:
        self.habit, self.held, self.shown, self.asked = habit, {}, {}, 0

    def application(self) -> web.Application:
        """It, with the bucket "bucket"."""
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/bucket/{key:.*}", self.answer)
        application.router.add_route("*", "/{key:bucket}", self.answer)
        return application

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        while self.habit == "silent":  # noqa: ASYNC110  (who changes it knows nothing of this)
            await asyncio.sleep(0.02)
        key = request.match_info["key"] if request.path != "/bucket" else ""
        told = {"ETag": '"1"', "Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"}
        if self.habit == "page":
            return web.Response(text="<html>Gateway: try later</html>", content_type="text/html")
        if request.method == "PUT":
            if key in self.held and self.habit != "overwrites" and request.headers.get("If-None-Match") == "*":
                return web.Response(status=412)
            body = await request.read()
            if self.habit != "forgets":
                self.held[key] = body
            return web.Response(headers=told)
        if request.method == "DELETE":
            if self.habit != "keeps":
                self.held.pop(key, None)
            return web.Response(status=204)
        if not key:
            shown = self.shown if self.habit == "stale" else self.held
            items = "".join(
                f"<Contents><Key>{k}</Key><Size>{len(v)}</Size><ETag>1</ETag>"
                f"<LastModified>2026-11-28T10:00:00.000Z</LastModified></Contents>"
                for k, v in shown.items()
                if k.startswith(request.query["prefix"])
            )
            return web.Response(text=f"<ListBucketResult>{items}</ListBucketResult>", content_type="application/xml")
        if key not in self.held:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        body, part = self.held[key], request.http_range
        if self.habit == "other":
            body = bytes(byte ^ 1 for byte in body)
        if self.habit == "short" and request.method == "GET":
            response = web.StreamResponse(headers={**told, "Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[:-1])
            request.transport.close()
            return response
        if part.start is not None and self.habit != "whole":
            end = min(part.stop or len(body), len(body))
            told["Content-Range"] = f"bytes {part.start}-{end - 1}/{len(body)}"
            return web.Response(status=206, body=body[part.start : end], headers=told)
        return web.Response(body=body, headers=told)
