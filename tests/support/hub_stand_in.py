"""A stand-in of the Hugging Face hub on this machine: as much of its HTTP interface as huggingface_hub calls to send and fetch a model.

Commits live in memory. Large and binary files go by way of Git LFS, as on the hub. Whoever writes needs the token `TOKEN`; a private
repository is shown to nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_stand_in"
_LFS = (".safetensors", ".parquet", ".bin", ".pkl")


@dataclass
class Repo:
    """Commits by hash, each all files by name; branches by name, each a commit."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})

    def find(self, revision):
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None

    def commit(self, changed, branch="main"):
        """Add a commit with further files and return its hash."""
        files = {**self.commits[self.branches[branch]], **changed}
        number = f"{len(self.commits)}".encode()
        commit = hashlib.sha1(number + b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
        self.commits[commit], self.branches[branch] = files, commit
        return commit

    def files(self, branch="main"):
        return self.commits[self.branches[branch]]


@dataclass
class Hub:
    """What the server holds, and every request that it got.

    ``sizes`` are what it says of files in place of the truth, ``gated`` the repositories that nobody may read.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    sizes: dict[str, int | None] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    url: str = ""

    def downloads(self):
        """Return the names of the files whose content was asked for."""
        return [
            path.partition("/resolve/")[2].partition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path
        ]


@contextmanager
def serving():
    """Yield a hub that answers while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _of_lfs(name):
    return name.endswith(_LFS)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self._begin()
        if "/resolve/" in path:
            self._file(path)
        elif path.startswith("/api/models/"):
            self._model(path.removeprefix("/api/models/"))
        else:
            self._answer(404)

    do_HEAD = do_GET

    def do_POST(self):
        path = self._begin()
        self.hub.received.append(self.body)
        if path == "/api/validate-yaml":
            said = json.loads(self.body)
            problem = [] if said["content"].startswith("---\n") else [{"message": "no metadata"}]
            self._answer(400 if problem else 200, {"errors": problem, "warnings": []})
        elif not self._knows_token():
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(self.body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(self.body))
        else:
            name, action, revision = path.removeprefix("/api/models/").rsplit("/", 2)
            if name not in self.hub.repos:
                self._answer(404, code="RepoNotFound")
            else:
                getattr(self, f"_{action}")(name, revision)

    def do_PUT(self):
        self._begin()
        self.hub.received.append(self.body)
        self.hub.blobs[hashlib.sha256(self.body).hexdigest()] = self.body
        self._answer(200)

    def _begin(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(iter(self._chunk, b""))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        return path

    def _chunk(self):
        content = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return content

    def _knows_token(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repo(self, name):
        """Return a repository that the caller may see; one that he may not does not exist for him."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._knows_token()):
            self._answer(401 if repo is None or repo.private else 404, code="RepoNotFound")
        elif name in self.hub.gated:
            self._answer(403, code="GatedRepo")
        else:
            return repo
        return None

    def _model(self, path):
        user, name, *rest = path.split("/")
        repo = self._repo(f"{user}/{name}")
        if repo is None:
            return
        commit = repo.find("/".join(rest[1:]) or "main")
        if commit is None:
            self._answer(404, code="RevisionNotFound")
        elif rest[:1] == ["tree"]:
            self._answer(200, [self._entry(one, content) for one, content in repo.commits[commit].items()])
        else:
            siblings = [{"rfilename": one, "size": self._size(one, content)} for one, content in repo.commits[commit].items()]
            self._answer(200, {"id": f"{user}/{name}", "sha": commit, "private": repo.private, "siblings": siblings})

    def _size(self, name, content):
        return self.hub.sizes.get(name, len(content))

    def _entry(self, name, content):
        lfs = {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}} if _of_lfs(name) else {}
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return {"type": "file", "path": name, "size": len(content), "oid": oid, **lfs}

    def _file(self, path):
        name, rest = path[1:].split("/resolve/")
        revision, _, file = rest.partition("/")
        repo = self._repo(name)
        if repo is None:
            return
        commit = repo.find(revision)
        if commit is None or file not in repo.commits[commit]:
            self._answer(404, code="RevisionNotFound" if commit is None else "EntryNotFound")
            return
        content = repo.commits[commit][file]
        entry = self._entry(file, content)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        self._send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    def _create(self, asked):
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            self._answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
            return
        self.hub.repos[name] = Repo(private=asked.get("visibility") == "private")
        self._answer(200, {"url": f"{self.hub.url}/{name}"})

    def _preupload(self, name, revision):
        modes = [
            {"path": one["path"], "uploadMode": "lfs" if _of_lfs(one["path"]) else "regular", "shouldIgnore": False}
            for one in json.loads(self.body)["files"]
        ]
        self._answer(200, {"files": modes})

    def _batch(self, asked):
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}} if one["oid"] not in self.hub.blobs else one
            for one in asked["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _branch(self, name, revision):
        repo = self.hub.repos[name]
        status = 409 if revision in repo.branches else 201
        repo.branches.setdefault(revision, repo.branches["main"])
        self._answer(status, {})

    def _commit(self, name, revision):
        changed = {}
        for line in self.body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                changed[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                changed[one["value"]["path"]] = self.hub.blobs[one["value"]["oid"]]
        commit = self.hub.repos[name].commit(changed, revision)
        self._answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})

    def _answer(self, status, value=None, *, code=None):
        headers = {"Content-Type": "application/json"} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({} if value is None else value).encode(), headers)

    def _send(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
