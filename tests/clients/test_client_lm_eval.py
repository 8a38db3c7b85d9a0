"""lm-evaluation-harness, offline: its numbers through the server are those of `lm.score`, and `--model hf` agrees.

Three tasks out of `tasks/` on held-out stories. local-completions cuts windows of max_length - 2 tokens where hf cuts
max_length, so that the same pages need `max_length=510` of hf beside 512 of the server.
"""

import json
import random
import re
import subprocess
from pathlib import Path

import pytest
from spawned import DEMO, command, environment, needs

needs("lm_eval", "torch", "transformers", "aiohttp")

TASKS = Path(__file__).parent / "tasks"
QUESTIONS, CHOICES, PAGES = 60, 4, 3
NATS = 1e-3  # a request: float32 sums of up to 511 tokens in another order


def sentences(text):
    return [one for one in re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", text)) if 40 <= len(one) <= 160]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where lm_eval is started: with the tasks' documents."""
    data = Path(__file__).resolve().parents[3] / "shared" / "data" / "stories" / "valid"
    if not data.is_dir():
        pytest.skip("needs stories/valid of ../shared/data, which is not beside this checkout")
    text = (data / "en_nesbit_five_children_and_it.txt").read_text(encoding="utf-8")
    found, draw, path = sentences(text), random.Random(7), tmp_path_factory.mktemp("lm_eval")
    cloze = []
    for i in range(QUESTIONS):
        at = 10 + i * (len(found) - 20) // QUESTIONS
        others = draw.sample(found[:at] + found[at + 2:], CHOICES - 1)
        answer = draw.randrange(CHOICES)
        choices = [" " + one for one in (*others[:answer], found[at + 1], *others[answer:])]
        cloze.append({"before": found[at], "choices": choices, "answer": answer})
    starts = range(20_000, 20_000 + 9000 * PAGES, 9000)
    documents = {"nw_cloze": cloze,
                 "nw_gen": [{"before": " ".join(one.split()[:8]), "after": one} for one in found[5:500:25]],
                 "nw_roll": [{"page": text[start:start + 3000]} for start in starts]}
    for name, rows in documents.items():
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluated(folder, name, *arguments):
    """The samples of each task, in the order of the documents, and the results."""
    subprocess.run([command("lm_eval"), "run", *arguments, "--tasks", "nw_cloze,nw_gen,nw_roll", "--include_path",
                    str(TASKS), "--log_samples", "--output_path", name], cwd=folder, check=True, timeout=500,
                   env=environment(HF_HOME=str(folder / "hf"), OMP_NUM_THREADS="1"), stdin=subprocess.DEVNULL)
    samples = {}
    for task in ("nw_cloze", "nw_gen", "nw_roll"):
        path, = (folder / name).rglob(f"samples_{task}_*.jsonl")
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        samples[task] = sorted(rows, key=lambda row: row["doc_id"])
    path, = (folder / name).rglob("results_*.json")
    return samples, json.loads(path.read_text())["results"]


@pytest.fixture(scope="module")
def server(folder, address, lm):
    arguments = f"model=demo,base_url={address}/v1/completions,max_length={lm.model.limit},num_concurrent=8"
    return evaluated(folder, "server", "--model", "local-completions", "--model_args", arguments, "--batch_size", "1")


@pytest.fixture(scope="module")
def hf(folder, lm):
    arguments = f"pretrained={DEMO},max_length={lm.model.limit - 2},dtype=float32"
    return evaluated(folder, "hf", "--model", "hf", "--model_args", arguments, "--device", "cpu", "--batch_size", "8")


def arguments_of(sample):
    """Of each request of a sample, in order."""
    return [[one[name] for name in sorted(one)] for _, one in sorted(sample["arguments"].items())]


def likelihoods(samples):
    """Of each request of the multiple choice: its texts, its log-likelihood and its greedy flag."""
    return [(*arguments, float(answer[0][0]), answer[0][1] in (True, "True"))
            for sample in samples["nw_cloze"]
            for arguments, answer in zip(arguments_of(sample), sample["resps"], strict=True)]


def pages(samples):
    return [(sample["doc"]["page"], float(sample["resps"][0][0])) for sample in samples["nw_roll"]]


def test_log_likelihoods_and_greedy_flags_are_those_of_the_library(server, lm):
    found = likelihoods(server[0])
    assert len(found) == QUESTIONS * CHOICES
    for before, after, value, greedy in found:
        first, ids = len(lm.tokenizer.encode(before)), lm.tokenizer.encode(before + after)
        assert value == sum(lm.score(ids, start=None).logprobs[first:].tolist())
        argmax = lm.logits(ids)[first - 1:-1].argmax(-1).tolist()
        assert greedy == (argmax == ids[first:])


def test_texts_are_those_of_the_library(server, lm):
    for sample in server[0]["nw_gen"]:
        (before, settings), = arguments_of(sample)
        right = lm.generate(before, max_new_tokens=settings["max_gen_toks"], stop=settings["until"]).text
        assert sample["resps"][0][0] == right


def test_rolling_log_likelihoods_are_those_of_the_library(server, lm):
    size = lm.model.limit - 2
    for page, value in pages(server[0]):
        ids, total = lm.tokenizer.encode(page), []
        assert len(ids) > lm.model.limit
        for begin in range(0, len(ids), size):
            end = min(begin + size, len(ids))
            # the first token of a text follows the end token, that of a later window as many as still fit
            context = [0] if begin == 0 else ids[end - size - 1:begin]
            scored = lm.score([*context, *ids[begin:end]], start=None).logprobs[len(context):]
            total.append(sum(scored.tolist()))
        assert value == sum(total)


def test_hf_agrees(server, hf):
    distances = []
    for (*texts, value, greedy), (*other, right, flag) in zip(likelihoods(server[0]), likelihoods(hf[0]), strict=True):
        assert (texts, greedy) == (other, flag)
        distances.append(abs(value - right))
    rolled = [abs(one - two) for (_, one), (_, two) in zip(pages(server[0]), pages(hf[0]), strict=True)]
    print(f"largest difference: {max(distances):.3g} nats of {len(distances)} requests, {max(rolled):.3g} of pages")
    assert max(distances + rolled) <= NATS
    assert [one["resps"] for one in server[0]["nw_gen"]] == [one["resps"] for one in hf[0]["nw_gen"]]
    for task, name in (("nw_cloze", "acc,none"), ("nw_cloze", "acc_norm,none"), ("nw_gen", "exact_match,none")):
        assert server[1][task][name] == hf[1][task][name]
