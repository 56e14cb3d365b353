"""A web server on this machine, of files in memory, that may be told to misbehave."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Server:
    """`files`: path -> bytes. `broken`: path -> how it misbehaves, time after time; `asked`: paths, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.broken: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.login = ""
        self.marks = True

    def put(self, root, prefix: str = "") -> None:
        """All files below a folder."""
        for file in root.rglob("*"):
            if file.is_file():
                self.files[f"{prefix}/{file.relative_to(root).as_posix()}"] = file.read_bytes()


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path
            server.asked.append(path)
            content = server.files.get(path.partition("?")[0])
            how = server.broken.get(path, [])
            how = how.pop(0) if how else ""
            login = "Basic " + base64.b64encode(server.login.encode()).decode()
            if server.login and self.headers.get("Authorization") != login:
                return self.send_error(401)
            if content is None or how.isdecimal():
                return self.send_error(int(how or 404))
            if how.startswith("to "):
                self.send_response(302)
                self.send_header("Location", how.removeprefix("to "))
                return self.end_headers()
            self.send_response(200)
            if how != "no length":
                self.send_header("Content-Length", str(len(content) + (7 if how == "says more" else 0)))
            if server.marks:
                self.send_header("ETag", f'"{hash(content)}"')
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content[: len(content) // 2] if how == "breaks off" else content)
            self.close_connection = True
            return None

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        server = Server(f"http://127.0.0.1:{httpd.server_address[1]}")
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()
