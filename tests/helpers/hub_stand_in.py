"""A stand-in of the hub on the loopback address: of its HTTP interface as much as pushing and fetching folders need."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"
REPOSITORY = r"(?:(models|datasets)/)?([\w.-]+/[\w.-]+)"


class Hub(ThreadingHTTPServer):
    """repositories: (kind, name) -> path -> content."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], dict[str, bytes]] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path == "/api/repos/create":
            said = json.loads(body)
            owner, name = said.get("organization"), said["name"]
            kind = f"{said.get('type') or 'model'}s"
            full = f"{owner}/{name}" if owner else name
            self.server.repositories.setdefault((kind, full), {})
            prefix = "" if kind == "models" else f"{kind}/"
            return self.answer({"url": f"{self.server.address}/{prefix}{full}", "name": full, "id": full})
        if found := re.fullmatch(rf"/api/{REPOSITORY}/preupload/main", path):
            modes = [{"path": x["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for x in json.loads(body)["files"]]  # fmt: skip
            return self.answer({"files": modes})
        if found := re.fullmatch(rf"/api/{REPOSITORY}/commit/main", path):
            files = self.server.repositories[found.groups()]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"{self.server.address}/{found[2]}/commit/{self.sha(files)}"
            return self.answer({"success": True, "commitUrl": address, "commitOid": self.sha(files)})
        return self.answer({"error": path}, 404)

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        if found := re.fullmatch(rf"/api/{REPOSITORY}(/revision/\w+)?", path):
            files = self.server.repositories.get((found[1], found[2]))
            if files is None:
                return self.missing()
            siblings = [{"rfilename": name} for name in files]
            return self.answer({"id": found[2], "sha": self.sha(files), "siblings": siblings, "private": False,
                                "tags": [], "downloads": 0, "likes": 0})  # fmt: skip
        if found := re.fullmatch(rf"/api/{REPOSITORY}/tree/\w+", path):
            files = self.server.repositories[found[1], found[2]]
            return self.answer([{"type": "file", "path": name, "size": len(x), "oid": hashlib.sha1(x).hexdigest()}
                                for name, x in files.items()])  # fmt: skip
        if found := re.fullmatch(rf"/{REPOSITORY}/resolve/\w+/(.+)", path):
            files = self.server.repositories.get((found[1] or "models", found[2]), {})
            if found[3] not in files:
                return self.missing()
            content = files[found[3]]
            more = {"X-Repo-Commit": self.sha(files), "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            return self.send(content, 200, {"Content-Type": "application/octet-stream", **more})
        return self.missing()

    do_HEAD = do_GET

    def missing(self):
        self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    @staticmethod
    def sha(files: dict[str, bytes]) -> str:
        found = hashlib.sha1()
        for name in sorted(files):
            found.update(name.encode() + hashlib.sha1(files[name]).digest())
        return found.hexdigest()

    def answer(self, value, status: int = 200, headers: dict | None = None):
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send(self, content: bytes, status: int, headers: dict):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
