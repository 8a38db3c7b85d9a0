"""Writes python/nextword/serve/openapi.json, the description of the server's API, from its structs and its table.

python tools/openapi.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from nextword.serve import answers
from nextword.serve.table import ENDPOINTS, Endpoint

FILE = Path(__file__).resolve().parents[1] / "python" / "nextword" / "serve" / "openapi.json"
REF = "#/components/schemas/{name}"
ERRORS = {"400": "What was asked is wrong, or not supported", "401": "A key is needed",
          "403": "A foreign page asked", "404": "There is no such model or path", "405": "Another method is needed",
          "408": "The body came too slowly", "413": "The body is too large", "415": "The body must be JSON",
          "421": "Another host was asked", "429": "The queue is full", "500": "A fault of the server",
          "503": "The server is shutting down, or has too many connections", "507": "There is no memory for it"}


def described() -> dict[str, Any]:
    """The description."""
    structs = [one for found in ENDPOINTS.values() for one in (found.body, found.answer, found.chunk) if one]
    kinds = list(dict.fromkeys([*structs, answers.Failure]))
    references, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    of = dict(zip(kinds, references, strict=True))
    return {"openapi": "3.1.0",
            "info": {"title": "nextword", "version": "1",
                     "description": "OpenAI's API for models that run here, with log-probabilities of prompts, and "
                                    "answers whose bits do not depend on what else runs."},
            "security": [{}, {"bearer": []}],
            "paths": {path: {one.method.lower(): operation(path, one, of)} for path, one in ENDPOINTS.items()},
            "components": {"schemas": dict(sorted(schemas.items())),
                           "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}}


def operation(path: str, one: Endpoint, of: dict[Any, Any]) -> dict[str, Any]:
    """What a path does. of: a reference to the schema of each struct."""
    failure = {"application/json": {"schema": of[answers.Failure]}}
    name = path.strip("/").translate(str.maketrans("/.{}", "____"))
    found: dict[str, Any] = {"summary": one.summary, "operationId": name}
    if one.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": of[one.body]}}}
    if "{" in path:
        found["parameters"] = [{"name": "model", "in": "path", "required": True,
                                "schema": {"type": "string", "minLength": 1}}]
    if one.answer is not None:
        content = {"application/json": {"schema": of[one.answer]}}
    elif path.endswith(".json"):
        content = {"application/json": {"schema": {"type": "object"}}}
    else:
        content = {"text/plain": {"schema": {"type": "string"}}}
    if one.chunk is not None:
        content["text/event-stream"] = {"schema": event({"anyOf": [of[one.chunk], of[answers.Failure]]})}
    found["responses"] = {"200": {"description": "The answer", "content": content},
                          **{code: {"description": text, "content": failure} for code, text in ERRORS.items()}}
    return found


def event(held: dict[str, Any]) -> dict[str, Any]:
    """Of one server-sent event, whose data are JSON, or "[DONE]" in the last one."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": held}
    return {"type": "object", "properties": {"data": {"anyOf": [{"const": "[DONE]"}, data]}}, "required": ["data"]}


def text() -> str:
    """The file's content."""
    return json.dumps(described(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
