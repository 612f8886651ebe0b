"""The web server behind `lossviz-tui serve`; imports textual-serve, an extra.

A loopback address is open to every user of the machine, and to every page a browser on it has
open. So the page, and the socket behind it, are given to those alone who know the token of this
server, under a name that means this machine; the answers forbid other pages to embed it.
"""

import asyncio
import hmac
import logging
import re
import signal
import socket

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.server import Server

COOKIE = "lossviz-token"
POLICY = (
    "frame-ancestors 'none'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data:"
)
"""No other page embeds it, and the font of a third party, which a machine without a way out
would wait for, is not asked for."""
_HERE = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::(\d{1,5}))?", re.ASCII)
"""What a browser calls this machine, and the port; it leaves out the usual one."""
_USUAL_PORT = "80"


class TokenServer(Server):
    """Serves an app to those who know the token.

    The page's address has it once; a cookie, which no other site is sent, carries it on to the
    socket and the downloads.
    """

    def __init__(self, command: str, token: str) -> None:
        super().__init__(command, title="lossviz-tui")
        self._token = token

    async def make_app(self) -> web.Application:
        """The application, its every answer guarded."""
        app = await self._make_app()
        app.middlewares.append(self._guard())
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Print nothing: the command has."""

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            here = _HERE.fullmatch(request.host)
            if here is None:
                # Another name that was made to mean this machine.
                raise web.HTTPForbidden(text="open it as http://localhost")
            if request.headers.get("Origin") not in (None, f"http://{request.host}"):
                raise web.HTTPForbidden(text="another page asked for this")
            # Browsers keep cookies by host, for all its ports.
            cookie = f"{COOKIE}-{here[1] or _USUAL_PORT}"
            given = request.query.get("token") or request.cookies.get(cookie, "")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise web.HTTPForbidden(text="open the address lossviz-tui serve printed")
            # Through ssh -L the port may be another one than here.
            self.public_url = f"http://{request.host}"
            response = await handler(request)
            if not response.prepared:
                response.set_cookie(cookie, self._token, httponly=True, samesite="Strict")
                response.headers["Referrer-Policy"] = "no-referrer"
                response.headers["Content-Security-Policy"] = POLICY
            return response

        return guard


def serve(command: str, listener: socket.socket, token: str) -> None:
    """Serve an app's command line on a listening socket until a signal ends it."""
    logging.getLogger("textual-serve").setLevel(logging.ERROR)
    asyncio.run(_run(TokenServer(command, token), listener))


async def _run(server: TokenServer, listener: socket.socket) -> None:
    runner = web.AppRunner(await server.make_app(), handle_signals=False, access_log=None)
    await runner.setup()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    try:
        await web.SockSite(runner, listener, shutdown_timeout=2.0).start()
        await ended.wait()
    finally:
        await runner.cleanup()
