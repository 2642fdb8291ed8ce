"""A small hub of datasets on this machine: what huggingface_hub asks of one to read a repository and to push one."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Hub:
    """Mutable: the repositories by name, each commit by its number."""

    def __init__(self) -> None:
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        """Adds a commit; its id."""
        self.repos.setdefault(name, []).append(files)
        return self.sha(name, len(self.repos[name]) - 1)

    def sha(self, name: str, number: int) -> str:
        return hashlib.sha1(f"{name}/{number}".encode()).hexdigest()  # noqa: S324 - as Git names commits

    def files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """(commit, files) of a revision: main, or a commit's id."""
        commits = self.repos.get(name, [])
        for number, files in enumerate(commits):
            if revision == self.sha(name, number):
                return revision, files
        if revision != "main" or not commits:
            return None
        return self.sha(name, len(commits) - 1), commits[-1]


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def say(self, code: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def missing(self) -> None:
            self.say(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            hub.requests.append((self.command, path))
            parts = path.strip("/").split("/")
            match parts:
                case ["api", "repos", "create"]:
                    given = json.loads(body)
                    name = "/".join(
                        filter(None, (given.get("organization") or "me", given["name"].split("/")[-1]))
                    )
                    hub.repos.setdefault(name, [])
                    hub.private[name] = given.get("private") is True or given.get("visibility") == "private"
                    self.say(200, {"url": f"{hub.url}/datasets/{name}", "id": name, "name": name})
                case ["api", "validate-yaml"]:
                    self.say(200, {"errors": [], "warnings": []})
                case ["api", "datasets", owner, name, "preupload", _]:
                    files = json.loads(body)["files"]
                    modes = [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
                    ]
                    self.say(200, {"files": modes})
                case ["api", "datasets", owner, name, "commit", _]:
                    self.say(200, self.committed(f"{owner}/{name}", body))
                case ["api", "datasets", owner, name, "tree", revision, *inside]:
                    self.tree(f"{owner}/{name}", revision, "/".join(inside))
                case ["api", "datasets", owner, name, *rest]:
                    self.info(f"{owner}/{name}", rest[1] if rest[:1] == ["revision"] else "main")
                case ["datasets", owner, name, "resolve", revision, *inside]:
                    self.resolve(f"{owner}/{name}", revision, "/".join(inside))
                case _:
                    self.missing()

        def info(self, name: str, revision: str) -> None:
            found = hub.files(name, revision)
            if found is None and name in hub.repos and not hub.repos[name]:
                found = "0" * 40, {}
            if found is None:
                return self.missing()
            listed = [{"rfilename": path} for path in found[1]]
            self.say(
                200,
                {
                    "_id": "1",
                    "id": name,
                    "sha": found[0],
                    "siblings": listed,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                },
            )
            return None

        def tree(self, name: str, revision: str, inside: str) -> None:
            found = hub.files(name, revision)
            if found is None:
                found = ("", {}) if name in hub.repos else None
            if found is None:
                return self.missing()
            listed = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}  # noqa: S324
                for path, data in found[1].items()
                if path.startswith(inside)
            ]
            return self.say(200, listed)

        def resolve(self, name: str, revision: str, inside: str) -> None:
            found = hub.files(name, revision)
            if found is None or inside not in found[1]:
                return self.say(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            data = found[1][inside]
            tag = hashlib.sha1(data).hexdigest()  # noqa: S324
            return self.say(200, data, ETag=f'"{tag}"', X_Repo_Commit=found[0], Accept_Ranges="bytes")

        def committed(self, name: str, body: bytes) -> dict[str, Any]:
            files = dict(hub.repos[name][-1]) if hub.repos.get(name) else {}
            for line in body.decode().splitlines():
                step = json.loads(line)
                value = step["value"]
                if step["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif step["key"] == "deletedFile":
                    files.pop(value["path"], None)
            sha = hub.commit(name, files)
            return {
                "success": True,
                "commitOid": sha,
                "commitUrl": f"{hub.url}/datasets/{name}/commit/{sha}",
                "hookOutput": "",
            }

        do_GET = do_HEAD = do_POST = do_PUT = answer

    return Handler


@contextmanager
def served() -> Iterator[Hub]:
    """A hub that answers while the block lasts."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
