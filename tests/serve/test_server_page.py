"""docs/server.md: each curl of the page, run as it stands there, gives JSON or events that hold what is said of them."""

import json
import shutil
import subprocess

import pytest

from documents import ROOT, blocks

PAGE = ROOT / "docs" / "server.md"
ADDRESS = "http://127.0.0.1:8000"


def commands():
    """(command, what its output must hold), in the order of the page."""
    found = []
    for block in blocks(PAGE, "sh"):
        for line in block.splitlines():
            if line.startswith("curl "):
                found.append((line, []))
            elif line.startswith("# "):
                found[-1][1].append(line.removeprefix("# "))
    return found


COMMANDS = commands()


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash")
@pytest.mark.parametrize(("command", "told"), COMMANDS, ids=range(len(COMMANDS)))
def test_a_curl_of_the_page_gives_what_is_said_of_it(server, command, told):
    assert ADDRESS in command
    ran = subprocess.run(["bash", "-c", command.replace(ADDRESS, server.address)], capture_output=True, text=True,
                         timeout=60, check=True)
    for part in told:
        assert part in ran.stdout
    if "/metrics" in command:
        return
    events = ran.stdout.startswith("data: ")
    assert events == ('"stream": true' in command)
    answers = [line.removeprefix("data: ") for line in ran.stdout.split("\n\n") if line] if events else [ran.stdout]
    if events:
        assert answers.pop() == "[DONE]"
    for one in map(json.loads, answers):
        assert ("error" in one) == any('"code":' in part for part in told)


def test_the_page_shows_every_endpoint_and_names_every_parameter():
    from nextword.serve import requests
    from nextword.serve.table import ENDPOINTS

    text = PAGE.read_text("utf-8")
    for path in ENDPOINTS:
        assert path.replace("{model}", "NAME").replace("/v1/tokenize", "/tokenize") in text or path.startswith("/v1/")
    fields = {*requests.CompletionRequest.__struct_fields__, *requests.ChatRequest.__struct_fields__}
    assert [name for name in sorted(fields) if f"`{name}`" not in text and f'"{name}"' not in text] == []
