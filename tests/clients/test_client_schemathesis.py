"""schemathesis with all of its checks: whatever is asked, no 5xx, and every answer fits /openapi.json."""

import json
import re
import shutil
import subprocess
import urllib.request

import pytest
from spawned import DEMO, command, environment, needs, spawned

needs("schemathesis")

SECONDS, EXAMPLES, SEED = 500, 10, 7  # examples: of each operation in its last phase
WINDOW = 64  # a chat of 127 texts that fill their windows is valid, and takes the longest
# What a schema cannot tell is refused with 400: a model's vocabulary, width and window, and which fields go together.
CONFIG = """[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404"]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of the demo model's first layer, with a short window, so that the many texts are short."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("small")
    tensors = load_file(DEMO / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not re.search(r"\.h\.[1-9]", name)}
    kept["transformer.wpe.weight"] = kept["transformer.wpe.weight"][:WINDOW].copy()
    save_file(kept, folder / "model.safetensors")
    config = json.loads((DEMO / "config.json").read_text()) | {"n_layer": 1, "n_positions": WINDOW}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(DEMO / name, folder / name)
    with spawned(folder, f"demo={folder}") as found:
        yield found


def test_every_answer_fits_its_schema(address, tmp_path):
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG, encoding="utf-8")
    found = subprocess.run(
        [command("schemathesis"), "--config-file", str(config), "run", f"{address}/openapi.json", "--checks", "all",
         "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--phases", "examples,coverage,fuzzing",
         "--generation-database", "none", "--request-timeout", "120", "--max-response-time", "120", "--no-color"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
        check=False)
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2_000:]
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/metrics") as response:
        counts = re.findall(r'requests_total\{code="(\d+)",endpoint="([^"]+)"\}', response.read().decode())
    assert all(int(code) < 500 for code, _ in counts)
    answered = {endpoint for code, endpoint in counts if code == "200"}
    assert {"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/score", "/tokenize",
            "/detokenize"} <= answered  # not refused alone
