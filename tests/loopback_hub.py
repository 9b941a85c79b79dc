"""A hub on 127.0.0.1 for tests: what the client asks when it pushes and pulls, kept in memory.

Repositories are lists of commits (whole trees), so a test can say that a head is an old commit or a complete
new one. Large files take the LFS path (`basic` transfer); Xet is not offered. A fault can be planted at the
k-th request: an HTTP status, a dropped connection, or an answer lost after the request was carried out.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

DATE = "2026-01-01T00:00:00.000Z"
LFS_SUFFIXES = (".safetensors", ".bin", ".model")


@dataclass(frozen=True)
class Blob:
    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        stored = self.content
        if self.lfs:
            stored = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
                f"size {len(self.content)}\n"
            ).encode()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass
class Repository:
    private: bool
    commits: list[tuple[str, dict[str, Blob]]] = field(default_factory=list)

    def commit(self, files: Mapping[str, Blob]) -> str:
        told = repr((len(self.commits), [(name, blob.oid) for name, blob in files.items()]))
        sha = hashlib.sha1(told.encode()).hexdigest()
        self.commits.append((sha, dict(files)))
        return sha

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    def files(self, revision: str) -> dict[str, Blob] | None:
        if revision == "main":
            return self.commits[-1][1]
        return next((files for sha, files in self.commits if sha == revision), None)


@dataclass(frozen=True)
class Fault:
    """`kind`: an HTTP status, `reset` (dropped unanswered), `lost` (carried out, then dropped) or `cut`
    (dropped in the middle of the answer).

    It strikes request number `at` (from 0) and those after it until it struck `times` times.
    """

    at: int
    kind: int | str
    times: int = 1


class LoopbackHub:
    """Use as a context manager: `with LoopbackHub() as hub: ... hub.url`."""

    def __init__(self, *, fault: Fault | None = None, token: str | None = None) -> None:
        self.fault, self.token = fault, token
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[int] = []  # first bytes of what was asked for from the middle
        self.corrupt: str | None = None  # a file whose content is damaged when it is committed
        self.served: dict[str, bytes] = {}  # files that are sent with other content than was promised
        # told of each request: `asked`, then `done`; true when the asker died at that moment
        self.watch: Callable[[int, str], bool] | None = None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: Mapping[str, bytes]) -> str:
        """Put a repository there without the client; the commit's sha."""
        repository = self.repositories.setdefault(name, Repository(private=False))
        return repository.commit(
            {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        )

    def count(self, method: str, path: str) -> int:
        with self._lock:
            self.requests.append((method, path))
            return len(self.requests) - 1

    def asker_died(self, number: int, moment: str) -> bool:
        return self.watch is not None and self.watch(number, moment)

    def fault_at(self, number: int) -> int | str | None:
        if self.fault and self.fault.at <= number < self.fault.at + self.fault.times:
            return self.fault.kind
        return None


class Answer(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.headers = status, dict(headers or {})
        self.body = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()


def _problem(status: int, code: str, text: str) -> Answer:
    return Answer(status, {"error": text}, {"X-Error-Code": code, "X-Error-Message": text})


class _Api:
    """The routes. Every method raises its Answer."""

    def __init__(self, hub: LoopbackHub) -> None:
        self.hub = hub

    def answer(self, method: str, path: str, body: bytes) -> None:
        # a dataset is a repository like any other here
        path = path.replace("/api/datasets/", "/api/models/", 1).removeprefix("/datasets")
        for pattern, route in self.ROUTES:
            if match := re.fullmatch(pattern, path):
                getattr(self, route)(method, body, *match.groups())
        raise _problem(404, "", f"no route {path}")

    def repository(self, name: str) -> Repository:
        if name not in self.hub.repositories:
            raise _problem(404, "RepoNotFound", "Repository not found")
        return self.hub.repositories[name]

    def tree(self, name: str, revision: str) -> dict[str, Blob]:
        files = self.repository(name).files(revision)
        if files is None:
            raise _problem(404, "RevisionNotFound", "Revision not found")
        return files

    def whoami(self, method: str, body: bytes) -> None:
        raise Answer(200, {"type": "user", "name": "me", "orgs": [], "auth": {"type": "access_token"}})

    def create(self, method: str, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.hub.repositories:
            raise Answer(409, {"error": "exists", "url": f"{self.hub.url}/{name}"})
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        repository = self.hub.repositories[name] = Repository(private)
        repository.commit({".gitattributes": Blob(b"*.safetensors filter=lfs -text\n", False)})
        raise Answer(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": "0" * 24})

    def validate(self, method: str, body: bytes) -> None:
        bad = "refused by the hub" in json.loads(body)["content"]
        errors = [{"message": "a rule of its own"}] if bad else []
        raise Answer(400 if bad else 200, {"errors": errors, "warnings": []})

    def info(self, method: str, body: bytes, name: str, revision: str | None = None) -> None:
        files = self.tree(name, revision or "main")
        repository = self.repository(name)
        raise Answer(
            200,
            {
                "_id": "0" * 24,
                "id": name,
                "modelId": name,
                "author": name.split("/")[0],
                "sha": repository.head if revision in (None, "main") else revision,
                "private": repository.private,
                "disabled": False,
                "gated": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "createdAt": DATE,
                "lastModified": DATE,
                "siblings": [{"rfilename": path, **_metadata(blob)} for path, blob in files.items()],
            },
        )

    def preupload(self, method: str, body: bytes, name: str, revision: str) -> None:
        files = self.tree(name, revision)
        raise Answer(200, {"files": [_upload_mode(asked, files) for asked in json.loads(body)["files"]]})

    def batch(self, method: str, body: bytes, name: str) -> None:
        self.repository(name)
        objects = [self._transfer(asked) for asked in json.loads(body)["objects"]]
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def _transfer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.hub.objects:
            return dict(asked)
        return {**asked, "actions": {"upload": {"href": f"{self.hub.url}/_lfs/{asked['oid']}"}}}

    def store(self, method: str, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise _problem(400, "", "the content does not match its oid")
        self.hub.objects[oid] = body
        raise Answer(200)

    def commit(self, method: str, body: bytes, name: str, revision: str) -> None:
        repository = self.repository(name)
        files = dict(self.tree(name, revision))
        for line in body.splitlines():
            self._apply(json.loads(line), repository, files)
        if self.hub.corrupt in files:
            blob = files[self.hub.corrupt]
            files[self.hub.corrupt] = Blob(blob.content[:-1] + b"!", blob.lfs)
        sha = repository.commit(files)
        raise Answer(
            200, {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}"}
        )

    def _apply(self, entry: Mapping[str, Any], repository: Repository, files: dict[str, Blob]) -> None:
        key, value = entry["key"], entry["value"]
        if key == "header" and value.get("parentCommit") not in (None, repository.head):
            raise _problem(412, "", "A commit has happened since. Please refresh and try again.")
        if key == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
        if key == "lfsFile":
            files[value["path"]] = Blob(self.hub.objects[value["oid"]], lfs=True)
        if key == "deletedFile":
            del files[value["path"]]

    def listing(self, method: str, body: bytes, name: str, revision: str, folder: str = "") -> None:
        """Every file below `folder`, whatever depth is asked for, and the folders on the way."""
        below = f"{unquote(folder)}/" if folder else ""
        files = {path: blob for path, blob in self.tree(name, revision).items() if path.startswith(below)}
        if not files:
            raise _problem(404, "EntryNotFound", "Entry not found")
        parents = {str(parent) for path in files for parent in PurePosixPath(path).parents}
        folders = sorted(parent for parent in parents if parent != "." and parent.startswith(below))
        raise Answer(
            200,
            [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders]
            + [{"type": "file", "path": path, **_metadata(blob)} for path, blob in files.items()],
        )

    def resolve(self, method: str, body: bytes, name: str, revision: str, path: str) -> None:
        files = self.tree(name, revision)
        if path not in files:
            raise _problem(404, "EntryNotFound", "Entry not found")
        blob = files[path]
        head = self.repository(name).head if revision == "main" else revision
        headers = {"ETag": f'"{blob.etag}"', "X-Repo-Commit": head}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
        raise Answer(200, self.hub.served.get(path, blob.content), headers)

    ROUTES = (
        (r"/api/whoami-v2", "whoami"),
        (r"/api/repos/create", "create"),
        (r"/api/validate-yaml", "validate"),
        (r"/api/models/([^/]+/[^/]+)", "info"),
        (r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", "info"),
        (r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
        (r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
        (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", "listing"),
        (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/(.+)", "listing"),
        (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        (r"/_lfs/([0-9a-f]{64})", "store"),
        (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
    )


def _metadata(blob: Blob) -> dict[str, Any]:
    lfs = {"oid": blob.sha256, "sha256": blob.sha256, "size": len(blob.content), "pointerSize": 134}
    return {
        "size": len(blob.content),
        "oid": blob.oid,
        "blobId": blob.oid,
        **({"lfs": lfs} if blob.lfs else {}),
    }


def _upload_mode(asked: Mapping[str, Any], files: Mapping[str, Blob]) -> dict[str, Any]:
    path = asked["path"]
    mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
    there = {"oid": files[path].etag} if path in files else {}
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, **there}


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    api = _Api(hub)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle_request(self) -> None:
            body = self.read_body()
            path = self.path.partition("?")[0]
            number = hub.count(self.command, path)
            fault = "reset" if hub.asker_died(number, "asked") else hub.fault_at(number)
            answer = None if fault == "reset" else self.outcome(path, body, fault)
            if answer is None or fault == "lost" or hub.asker_died(number, "done"):
                self.close_connection = True
                self.connection.close()
            else:
                self.reply(self.ranged(answer), cut=fault == "cut")

        def outcome(self, path: str, body: bytes, fault: int | str | None) -> Answer:
            signed = path.startswith("/_lfs/")  # upload addresses carry their own right
            if isinstance(fault, int):
                return Answer(fault, {"error": "planted"}, {"Retry-After": "0"} if fault == 429 else None)
            if hub.token and not signed and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return _problem(401, "", "Invalid credentials")
            try:
                api.answer(self.command, path, body)
            except Answer as answer:
                return answer
            raise AssertionError("every route answers")

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def ranged(self, answer: Answer) -> Answer:
            """The rest of a file whose beginning the asker has."""
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked is None or answer.status != 200:
                return answer
            first, size = int(asked[1]), len(answer.body)
            hub.ranges.append(first)
            told = {"Content-Range": f"bytes {first}-{size - 1}/{size}"}
            return Answer(206, answer.body[first:], {**answer.headers, **told})

        def reply(self, answer: Answer, *, cut: bool = False) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            kind = "application/octet-stream" if "ETag" in answer.headers else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
            if cut:
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()

        do_GET = do_POST = do_PUT = do_HEAD = handle_request

    return Handler
