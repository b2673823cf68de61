"""The baseline of the benchmark: the same routes in a plain Klein program, written in the most direct way.

python -m bench.baseline PORT CONFIG_FILE
"""

# ruff: noqa: ARG001, TID251  (Klein passes path segments as arguments; a stand-alone program may import the reactor)

from __future__ import annotations

import base64
import gzip
import sys
from pathlib import Path
from typing import Any

import msgspec
from klein import Klein
from twisted.internet import reactor as installed
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from gateway.flags import User, load

reactor: Any = installed
app = Klein()
path = Path(sys.argv[2])
config = load(path.read_bytes(), "")
streams: dict[Any, User] = {}


class Body(msgspec.Struct):
    key: str = ""
    user: dict[str, str | float | tuple[str, ...]] = {}
    context: dict[str, str | float | tuple[str, ...]] = {}


read = msgspec.json.Decoder(Body).decode


def frame(user: User) -> bytes:
    return b"data: " + config.evaluate_all(user).json() + b"\n\n"


class Stream(Resource):
    isLeaf = True

    def render(self, request: Any) -> int:
        data = request.path.rsplit(b"/", 1)[1]
        user = User(read(base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))).user)
        streams[request] = user
        request.notifyFinish().addBoth(lambda _: streams.pop(request, None))
        request.setHeader("Content-Type", "text/event-stream")
        request.write(frame(user))
        return NOT_DONE_YET


@app.route("/empty", methods=["GET", "POST"])
def empty(_request: Any) -> bytes:
    return b""


@app.route("/api/sdk1/eval", methods=["POST"])
def evaluate(request: Any) -> bytes:
    body = read(request.content.read())
    request.setHeader("Content-Type", "application/json")
    return config.evaluate(body.key, User(body.user)).json


@app.route("/api/sdk1/eval-all", methods=["POST"])
def evaluate_all(request: Any) -> bytes:
    request.setHeader("Content-Type", "application/json")
    return config.evaluate_all(User(read(request.content.read()).user)).json()


@app.route("/ofrep/v1/evaluate/flags/<key>", methods=["POST"])
def ofrep(request: Any, key: str) -> bytes:
    request.setHeader("Content-Type", "application/json")
    return config.evaluate(key, User(read(request.content.read()).context)).ofrep


@app.route("/ofrep/v1/evaluate/flags", methods=["POST"])
def ofrep_all(request: Any) -> bytes:
    request.setHeader("Content-Type", "application/json")
    return config.evaluate_all(User(read(request.content.read()).context)).ofrep()


@app.route("/configuration-files/<path:name>")
def config_file(request: Any, name: str) -> bytes:
    request.setHeader("Content-Type", "application/json")
    if "gzip" not in (request.getHeader("Accept-Encoding") or ""):
        return config.body
    request.setHeader("Content-Encoding", "gzip")
    return gzip.compress(config.body)


@app.route("/sse/sdk1/eval-all/", branch=True)
def stream(_request: Any) -> Resource:
    return Stream()


@app.route("/api/sdk1/refresh", methods=["POST"])
def refresh(_request: Any) -> bytes:
    global config
    config = load(path.read_bytes(), "", config)
    for request, user in list(streams.items()):
        request.write(frame(user))
    return b""


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Site(app.resource()), backlog=1024, interface="127.0.0.1")
    reactor.run()
