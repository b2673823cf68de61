"""The OpenAPI document is valid, and is what the routes generate."""

import json
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.console import FILE, openapi_document

ROOT = Path(__file__).parents[2]


def test_the_document_is_not_stale():
    """The committed file equals what the routes generate."""
    assert openapi_document() == (ROOT / FILE).read_text("utf-8"), "stale: run `flaggateway schema --write-docs .`"


def test_the_document_is_valid():
    """It is an OpenAPI 3.1 document, and each operation has a summary and a name of its own."""
    document = json.loads(openapi_document())
    OpenAPIV31SpecValidator(document).validate()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["summary"] for operation in operations)
    assert len(operations) == len({operation["operationId"] for operation in operations})
