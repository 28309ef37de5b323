"""An HTTP proxy that does to a share of the requests what networks and stores do: for promises about retries."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web
from yarl import URL

# unavailable: 503, not passed on. reset: not passed on, connection reset. lost: passed on and done, but the answer is
# lost. stalled: no answer for `stall_seconds`, not passed on. truncated: the answer ends half-way.
FAULTS = ("unavailable", "reset", "lost", "stalled", "truncated")
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


class FaultyProxy:
    """Passes requests on to `upstream` (http://host:port), but for a `share` of them.

    Which ones depends on the `seed`, the request's method and path below the bucket, and how often it has been asked
    for before, not on the order in which requests of several clients come in. With `only`, others are passed on whose
    path and query do not contain it.
    """

    def __init__(
        self,
        upstream: str,
        share: float,
        seed: int = 0,
        faults: Sequence[str] = FAULTS,
        stall_seconds: float = 5.0,
        only: str = "",
    ) -> None:
        self.upstream = upstream.rstrip("/")
        self.share = share
        self.seed = seed
        self.faults = faults
        self.stall_seconds = stall_seconds
        self.only = only
        self.endpoint = ""
        self.requests = 0
        self.done: Counter[str] = Counter()  # faults by kind
        self._asked: Counter[str] = Counter()

    def fault(self, method: str, path: str) -> str | None:
        """What is done to this request; None if it is passed on."""
        if self.only not in path:
            return None
        request = f"{method} {path.partition('?')[0].split('/', 2)[-1]}"
        self._asked[request] += 1
        summed = hashlib.sha256(f"{self.seed} {request} {self._asked[request]}".encode()).digest()
        chance, kind = struct.unpack("<QQ", summed[:16])
        return self.faults[kind % len(self.faults)] if chance / 2**64 < self.share else None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request of a client."""
        body = await request.read()
        self.requests += 1
        fault = self.fault(request.method, request.path_qs)
        if fault is not None:
            self.done[fault] += 1
        if fault == "unavailable":
            return web.Response(status=503, body=SLOW_DOWN, content_type="application/xml")
        if fault == "stalled":
            await asyncio.sleep(self.stall_seconds)
        if fault in ("reset", "stalled"):
            return self._hung_up(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with ClientSession(auto_decompress=False, timeout=ClientTimeout(total=60)) as session:
            url = URL(self.upstream + request.raw_path, encoded=True)
            async with session.request(
                request.method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent",),
            ) as got:
                content = await got.read()
                kept = [(name, value) for name, value in got.headers.items() if name.lower() not in HOP_BY_HOP]
                length = got.headers.get("Content-Length", str(len(content)))
        if fault == "lost" or (fault == "truncated" and len(content) < 2):
            return self._hung_up(request)
        response = web.StreamResponse(status=got.status, headers=kept)
        response.headers["Content-Length"] = length
        await response.prepare(request)
        await response.write(content[: len(content) // 2] if fault == "truncated" else content)
        if fault == "truncated":
            return self._hung_up(request, response)
        await response.write_eof()
        return response

    def _hung_up(self, request: web.Request, begun: web.StreamResponse | None = None) -> web.StreamResponse:
        """Ends the connection: with a reset, or in good order after a part of the answer."""
        if (transport := request.transport) is not None:
            if begun is None:
                peer = transport.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            else:
                transport.close()
        return begun or web.Response()

    async def serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        """Listen on a free port of the loopback until `over`."""
        application = web.Application(client_max_size=2**31)
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"
        ready.set()
        await over.wait()
        await runner.cleanup()


@contextmanager
def faulty_proxy(upstream: str, share: float, **options: Any) -> Iterator[FaultyProxy]:
    """A running `FaultyProxy`; its `endpoint` is where clients go."""
    proxy, ready, loop = FaultyProxy(upstream, share, **options), threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(ready, over)), daemon=True)
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the proxy did not start")
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()
