"""The Hugging Face hub as far as one repository's files are fetched from it: over HTTP, from a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_server(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """An endpoint that has the folder's files as repository `name` at `COMMIT`; and what was asked of it."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if path == f"/api/models/{name}/tree/{COMMIT}":
                self._answer(json.dumps([entry(file) for file in files()]).encode(), "application/json")
            elif path.startswith(f"/{name}/resolve/{COMMIT}/"):
                self._answer((folder / path.split(COMMIT + "/", 1)[1]).read_bytes(), "application/octet-stream")
            else:
                self.send_error(404)

        do_HEAD = do_GET

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            told = {"Content-Type": kind, "Content-Length": str(len(body)), "X-Repo-Commit": COMMIT}
            for header, value in {**told, "ETag": f'"{hashlib.sha256(body).hexdigest()}"'}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def files() -> list[Path]:
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def entry(file: Path) -> dict[str, object]:
        size, digest = file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()
        told = {"type": "file", "path": file.relative_to(folder).as_posix(), "size": size, "oid": digest[:40]}
        return {**told, "lfs": {"oid": digest, "size": size, "pointerSize": 130}}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
