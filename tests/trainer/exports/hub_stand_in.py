"""A stand-in for the Hugging Face hub: as much of its HTTP interface as an upload of a data set takes, in memory."""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """Keeps what it is given.

    Attributes:
        files: path -> bytes, as committed.
        blobs: SHA-256 -> bytes of large files, before and after their commit.
        asked: (method, path, authorization) of every request.
        created: bodies of the requests that make repositories.
        messages: of the commits.
    """

    def __init__(self, token):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token, self.files, self.blobs, self.asked, self.created, self.messages = token, {}, {}, [], [], []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def hub(token):
    """Yield a running stand-in."""
    with Hub(token) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(404 if "/tree/" in self.path else 200, {"id": "me/prompts", "sha": "0" * 40, "siblings": []})

    def do_PUT(self):
        body = self._body()
        self.server.blobs[hashlib.sha256(body).hexdigest()] = body
        self._answer(200, {})

    def do_POST(self):
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self._answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self._answer(200, {"url": f"{self.server.url}/datasets/me/prompts", "id": "1", "name": "me/prompts"})
        if self.path == "/api/validate-yaml":  # of the card
            return self._answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            kinds = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith((".parquet", ".png")) else "regular",
                 "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]  # fmt: skip
            return self._answer(200, {"files": kinds})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.server.url}/upload/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._answer(200, {"transfer": "basic", "objects": objects}, "application/vnd.git-lfs+json")
        if "/commit/" in self.path:
            self._commit([json.loads(line) for line in body.splitlines()])
            url = f"{self.server.url}/datasets/me/prompts/commit/{'1' * 40}"
            return self._answer(200, {"success": True, "commitOid": "1" * 40, "commitUrl": url, "hookOutput": ""})
        return self._answer(404, {"error": f"no {self.path} here"})

    def _commit(self, lines):
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.blobs[value["oid"]]

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status, value, kind="application/json"):
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization")))
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass
