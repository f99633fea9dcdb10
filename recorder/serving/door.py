"""The page's door: every request goes through it, and so does who logs in. Pure decisions are in ``access``.

Nothing of a request is logged. Every answer has the headers of ``pages``, refusals too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from recorder.serving.access import SESSION_S, Access, Throttle
from recorder.serving.pages import HEADERS, Asset

__all__ = ["FORM_BYTES", "SILENT_S", "Door", "answer_of"]

FORM_BYTES: Final = 4096
FORM_S: Final = 10.0
"""A form that is not here by then is refused: nobody may hold connections by logging in for ever."""
SILENT_S: Final = 15.0
"""A connection that has asked for nothing by then, since it was opened or answered, is closed; so is one that takes no
answers."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Lets requests in, or not.

    Args:
        access: who may see the page.
        assets: its files.
        secure: whether it speaks https.

    Attributes:
        cookie: name of the cookie; cookies go by host alone, so the port should be in it.
    """

    def __init__(self, access: Access, assets: dict[str, Asset], *, secure: bool) -> None:
        self.cookie = "tapebook"
        self._access = access
        self._assets = assets
        self._secure = secure
        self._throttle = Throttle()
        self._silent: dict[object, float] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the login."""
        router.add_get("/login", self._login_page)
        router.add_post("/login", self._login)
        router.add_post("/logout", self._logout)

    # Connections

    def opened(self, connection: object) -> None:
        """Note a connection that has asked for nothing yet, or for nothing more."""
        self._silent[connection] = time.monotonic()

    def close_silent(self) -> None:
        """Close connections that have asked for nothing for long."""
        now = time.monotonic()
        for connection, since in list(self._silent.items()):
            transport = getattr(connection, "transport", None)
            if transport is None or now - since >= SILENT_S:
                del self._silent[connection]
                if transport is not None:
                    transport.abort()

    # Requests

    @web.middleware
    async def guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Judge a request before anything answers it."""
        self._silent.pop(request.protocol, None)
        try:
            answer = await self._judged(request, handler)
        except web.HTTPException as error:
            answer = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
            if "Location" in error.headers:
                answer.headers["Location"] = error.headers["Location"]
        finally:
            self.opened(request.protocol)
        if not answer.prepared:
            answer.headers.update(HEADERS)
            answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    async def _judged(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        headers = request.headers
        host = headers.get("Host")
        if not self._access.knows_host(host):
            return web.Response(
                status=421,
                text="This page goes by an address or by names that it was told (--allow-host), not by this one.\n",
            )
        is_open = request.path in ("/login", "/") or request.path.startswith("/static/")
        if (request.method != "GET" or not is_open) and not self._access.same_origin(
            headers.get("Origin"), headers.get("Sec-Fetch-Site"), host
        ):
            raise web.HTTPForbidden(reason="From another site")
        if request.path.startswith("/static/") or request.path == "/login" or self._may_see(request):
            return await handler(request)
        if request.path == "/":
            raise web.HTTPSeeOther("/login")
        raise web.HTTPUnauthorized(reason="Log in, or send Authorization: Bearer and the token")

    def _may_see(self, request: web.Request) -> bool:
        if not self._access.needs_token:
            return True
        if self._access.accepts_session(request.cookies.get(self.cookie), int(time.time())):
            return True
        authorization = request.headers.get("Authorization")
        if authorization is None:
            return False
        address = request.remote or ""
        if self._throttle.wait_s(address, time.monotonic()):
            raise web.HTTPTooManyRequests(reason="Too many wrong tokens; wait a minute")
        if self._access.accepts_header(authorization):
            return True
        self._throttle.failed(address, time.monotonic())
        return False

    async def _login_page(self, request: web.Request) -> web.Response:
        if not self._access.needs_token:
            raise web.HTTPSeeOther("/")
        return answer_of(request, self._assets["login.html"])

    async def _login(self, request: web.Request) -> web.Response:
        address = request.remote or ""
        if self._throttle.wait_s(address, time.monotonic()):
            raise web.HTTPTooManyRequests(reason="Too many wrong tokens; wait a minute")
        try:
            async with asyncio.timeout(FORM_S):
                given = (await request.post()).get("token", "")
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason="The form did not come") from None
        except ValueError:
            raise web.HTTPBadRequest(reason="Not a form") from None
        if not isinstance(given, str) or not self._access.accepts_token(given.strip()):
            self._throttle.failed(address, time.monotonic())
            return web.Response(
                status=401, body=self._assets["wrong.html"].content, content_type="text/html", charset="utf-8"
            )
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            self.cookie, self._access.session(int(time.time())),
            max_age=SESSION_S, httponly=True, samesite="Strict", path="/", secure=self._secure,
        )  # fmt: skip
        return answer

    async def _logout(self, _: web.Request) -> web.Response:
        answer = web.Response(status=303, headers={"Location": "/login"})
        answer.del_cookie(self.cookie, path="/")
        return answer


def answer_of(request: web.Request, asset: Asset) -> web.Response:
    """Return a file of the page; 304 where the browser has it already."""
    is_page = asset.kind == "text/html"
    headers = {"Cache-Control": "no-store" if is_page else "no-cache", "ETag": asset.tag}
    if not is_page and request.headers.get("If-None-Match") == asset.tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.content, content_type=asset.kind, charset="utf-8", headers=headers)
