"""A client of the API that checks each answer against the OpenAPI document which the same gateway serves."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Any

import jsonschema

from gateway_process import GatewayProcess


class ApiClient:
    """Sends requests to ``/api/v1`` of a running gateway."""

    def __init__(self, gateway: GatewayProcess) -> None:
        """Read the document."""
        self.gateway = gateway
        self.document: dict[str, Any] = json.loads(gateway.get("/api/v1/openapi.json", diag=True)[1])

    def get(self, path: str, **headers: str) -> Any:
        """Return the body of the answer, which must be 200 and fit its schema."""
        return self._checked("GET", path, None, 200, headers)

    def post(self, path: str, body: Any, code: int = 200, **headers: str) -> Any:
        """Return the body of the answer, which must have this status and fit its schema."""
        return self._checked("POST", path, json.dumps(body).encode(), code, headers)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> tuple[int, bytes, str]:
        """Return status, body and content type."""
        url = f"{self.gateway.diag}/api/v1{path}"
        request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers["Content-Type"]

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """Return what the document has about a path."""
        bare = "/api/v1" + path.partition("?")[0]
        for template, operations in self.document["paths"].items():
            same = re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), bare)
            if same and method.lower() in operations:
                return dict(operations[method.lower()])
        raise AssertionError(f"the document does not have {bare}")

    def check(self, method: str, path: str, code: int, body: bytes, kind: str) -> Any:
        """Check an answer against the document and return its decoded body."""
        responses = self.operation(method, path)["responses"]
        assert str(code) in responses, (code, body)
        content = responses[str(code)]["content"]
        assert [kind] == list(content)
        decoded = json.loads(body)
        schema = {"components": self.document["components"], **content[kind]["schema"]}
        jsonschema.validate(decoded, schema, jsonschema.Draft202012Validator)
        return decoded

    def _checked(self, method: str, path: str, body: bytes | None, code: int, headers: dict[str, str]) -> Any:
        got, answer, kind = self.ask(method, path, body, {name.replace("_", "-"): headers[name] for name in headers})
        assert code == got, answer
        return self.check(method, path, got, answer, kind)
