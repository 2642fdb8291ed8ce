"""Who may see a run's pages: one person's browser on this machine, which has the token; and what a page may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, forms of our own would come from the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Checks each request: the host that it names, the token or the cookie made of it, where a write comes from.

    A page elsewhere may point its own name at this machine (DNS rebinding): only known names are served. The cookie is
    sent with requests that this site's own pages make, and no script can read it.
    """

    def __init__(self, token: str, port: int, names: tuple[str, ...] = ()) -> None:
        """`names` are further hosts by which the server is reached."""
        self._token = token
        self._cookie = f"datagen-view-{port}"
        self._proof = _proof(token, "cookie")
        self._hosts = {f"{name}:{port}" for name in (*LOOPBACK, *names)}
        self.form_token = _proof(token, "form")
        """What a form must send along."""

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                response = await self._answer(request, handler)
            except web.HTTPException as error:
                _protect(error)
                raise
            if not response.prepared:
                _protect(response)
            return response

        return guarded

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Host", "").lower() not in self._hosts:
            return web.Response(status=421, text="This address is not served here.\n")
        if (given := request.query.get("token")) is not None and request.method == "GET":
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return _refused()
            onward = web.HTTPFound(request.rel_url.without_query_params("token"))
            onward.set_cookie(
                self._cookie, self._proof, httponly=True, samesite="Strict", path="/", max_age=30 * 86_400
            )
            raise onward
        if not hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._proof.encode()):
            return _refused()
        if request.method not in ("GET", "HEAD") and not await self._from_here(request):
            return web.Response(status=403, text="This was not sent by a page of this server.\n")
        return await handler(request)

    async def _from_here(self, request: web.Request) -> bool:
        """Whether a page of this server has sent it: by its origin, and by what only such a page knows."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self._hosts:
            return False
        sent = request.headers.get("X-Form-Token")
        if sent is None:
            form = await request.post()
            sent = str(form.get("form_token", ""))
        return hmac.compare_digest(sent.encode(), self.form_token.encode())


def _protect(response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def protected_headers() -> dict[str, str]:
    """For a response that is prepared before the guard sees it."""
    return {**_HEADERS, "Cache-Control": "no-store"}


def _refused() -> web.Response:
    said = (
        "Open the address that datagen view has printed, with its token: nobody else may look at this run.\n"
    )
    return web.Response(status=403, text=said)


def _proof(token: str, purpose: str) -> str:
    """What shows that the token is known, without it."""
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()
