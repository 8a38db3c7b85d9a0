"""Beam search: the most probable continuations of a prompt, and the tree of all that was considered. Not here: what
changes the probabilities (the hook `process`) and sampling.

Results are those of transformers' `_beam_search` token for token; with groups those of its `_group_beam_search`, which
stops a group by the best candidate instead of the best beam that goes on, and adds no open beam to a full group.
Log-probabilities are rounded to float32 once, as `process` sees them, and summed in float64: a float32 sum of -100 has
a grain of 8e-6, which would make beams tie or swap that the model tells apart. Of equal sums the lower beam comes
first, then the lower id.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops
from nextword.arithmetic.arrays import Floats
from nextword.decoding.beam_settings import BeamSettings, EarlyStopping
from nextword.decoding.beam_slots import Path, Slots
from nextword.decoding.beam_tree import BeamCandidate, BeamStep, Decode, Fate
from nextword.decoding.search import Ends, Process, checked, largest, read_prompt
from nextword.machine import memory
from nextword.models.model import Model

CANDIDATE = 250  # bytes that a candidate takes in the tree, and in the lists of its path, about


@dataclass(frozen=True)
class Beam:
    """One continuation that has ended.

    tokens: the new token ids, a stop id and those of a stop string included, the end token not.
    text: the new text up to the stop string or stop id; None without `decode`.
    score: logprob / len(logprobs) ** length_penalty. logprob: the sum of logprobs.
    logprobs: what each token added, and the end token where one came; after penalties and `process`.
    finish_reason: "stop" (end token, stop string or stop id), "length" (max_new_tokens), "context" (window full).
    end: the end token, where one ended it.
    """

    tokens: list[int]
    text: str | None
    score: float
    logprob: float
    logprobs: list[float]
    finish_reason: str
    end: int | None = None


@dataclass(frozen=True)
class BeamResult:
    """The best hypotheses, best first, each step on the way, and the seconds until the first step's logits."""

    beams: list[Beam]
    tree: list[BeamStep]
    prefill_seconds: float = field(default=0.0, compare=False)


class Group:
    """Beams that compete with each other: the open ones, and the best that have ended, best first."""

    def __init__(self, size: int) -> None:
        self.size, self.done = size, False
        self.live = [Path([], [], 0.0, 0)]
        self.finished: list[Beam] = []

    def finish(self, beam: Beam) -> None:
        """Remember a hypothesis if it is among the best."""
        at = sum(other.score >= beam.score for other in self.finished)
        self.finished[at:at] = [beam]
        del self.finished[self.size :]


class BeamSearch:
    """A search from a prompt to its end; `run` gives the result."""

    def __init__(self, model: Model, prompt: list[int], settings: BeamSettings, process: Process | None,
                 ends: Ends) -> None:
        self.settings, self.prompt, self.process, self.ends = settings, prompt, process, ends
        room = model.limit - len(prompt) + 1  # the last token need not go through the model
        self.limit = min(settings.max_new_tokens, room)
        self.limit_reason = "length" if settings.max_new_tokens <= room else "context"
        self.grouped = settings.num_beam_groups > 1
        # One beam alone would go on after the end token to look for a better end; transformers takes it as greedy.
        self.early: EarlyStopping = settings.early_stopping if settings.num_beams > 1 else True
        size = settings.num_beams // settings.num_beam_groups
        self.groups = [Group(size) for _ in range(settings.num_beam_groups)]
        self.keep = max(2, 1 + len(ends.eos | ends.ids)) * size  # so many that enough are left when end tokens are gone
        rows, vocabulary = settings.num_beams, model.vocabulary
        fresh = max(0, self.limit - 1)
        # The cache; logits, log-probabilities and what they are made of; activations; candidates in the tree and paths.
        wide = rows * (48 * vocabulary + 4 * model.widest + 24 * min(self.keep, vocabulary))
        told = self.keep * settings.num_beam_groups * self.limit * CANDIDATE
        memory.require("beam_search", f"num_beams={rows} of up to {len(prompt) + fresh} tokens",
                       model.cache_bytes(rows, len(prompt) + fresh) + wide + told,
                       "lower num_beams or max_new_tokens")
        self.slots = Slots(model, prompt, settings.num_beams, max(0, self.limit - 1))
        self.tree: list[BeamStep] = []

    def run(self) -> BeamResult:
        """Search to the end. Raises ValueError for NaN or if no token is left to choose."""
        if self.limit == 0:
            return BeamResult([self._ended(Path([], [], 0.0, 0), self.limit_reason)], [])
        started = time.perf_counter()
        logits = self.slots.prefill()
        prefill_seconds = time.perf_counter() - started
        for length in range(1, self.limit + 1):
            self._choose(_log_softmax(logits), length)
            paths = [path for group in self.groups if not group.done for path in group.live]
            if not paths:
                break
            logits = self.slots.step(paths)
        beams = sorted((b for group in self.groups for b in group.finished), key=lambda b: -b.score)
        if not beams:
            raise ValueError(f"beam_search: no token may follow after {len(self.tree) - 1} new ones; "
                             "process must leave one above -inf")
        return BeamResult(beams[: self.settings.num_return_sequences], self.tree, prefill_seconds)

    def _choose(self, logprobs: Floats, length: int) -> None:
        """Let each group choose its beams of this length, one after the other. logprobs: [beams, vocabulary]."""
        used = np.zeros(logprobs.shape[1], np.float32)  # how often earlier groups chose each token for this position
        step: list[BeamCandidate] = []
        for group in self.groups:
            if group.done:
                continue
            step += self._advance(group, self._candidates(group, logprobs, used), length)
            np.add.at(used, [path.tokens[-1] for path in group.live], 1)
        self.tree.append(BeamStep(step))

    def _candidates(self, group: Group, logprobs: Floats, used: Floats) -> list[tuple[Path, Path]]:
        """(parent, child) of a group's most probable continuations, the most probable first."""
        parts: list[tuple[Any, ...]] = []  # of each path: (total, value, token, the path's place), the best first
        for place, path in enumerate(group.live):
            row = logprobs[path.row]
            if self.settings.diversity_penalty:
                row = row - np.float32(self.settings.diversity_penalty) * used
            if self.process is not None:
                row = checked("beam_search", self.process(self.prompt + path.tokens, row.copy()), row)
            best = largest(row, self.keep)
            values = row[best].astype(np.float64)
            parts.append((path.logprob + values, values, best, np.full(len(best), place)))
        totals, values, tokens, places = (np.concatenate(column) for column in zip(*parts, strict=True))
        first = np.argsort(-totals, kind="stable")[: self.keep]
        chosen = zip(*(column[first].tolist() for column in (totals, values, tokens, places)), strict=True)
        return [(path := group.live[place], Path([*path.tokens, token], [*path.logprobs, value], total, path.slot))
                for total, value, token, place in chosen]

    def _advance(self, group: Group, candidates: list[tuple[Path, Path]], length: int) -> list[BeamCandidate]:
        """Sort the candidates into beams, hypotheses and the rest, and see whether the group is done."""
        fates: list[Fate] = ["dropped"] * len(candidates)
        live: list[int] = []  # ranks
        for rank, (_, path) in enumerate(candidates):
            if self.ends.reached(path.tokens):
                if rank < group.size:
                    group.finish(self._ended(path, "stop"))
                    fates[rank] = "finished"
            elif len(live) < group.size:
                live.append(rank)
        group.live = [candidates[rank][1] for rank in live]
        full = len(group.finished) == group.size
        if length == self.limit:
            for rank in live:
                if rank < group.size and not (full and self.grouped and self.early is True):
                    group.finish(self._ended(candidates[rank][1], self.limit_reason))
                    fates[rank] = "finished"
            group.done = True
        elif not live or (full and self.early is True):
            group.done = True
        elif full:
            best = candidates[0][1] if self.grouped else group.live[0]
            far = self.early == "never" and self.settings.length_penalty > 0
            group.done = group.finished[-1].score >= self._score(best.logprob, self.limit if far else length)
        if not group.done:
            for rank in live:
                fates[rank] = "kept"
        return [BeamCandidate(parent.row, path.tokens[-1], path.logprob, self._score(path.logprob, length), fate)
                for (parent, path), fate in zip(candidates, fates, strict=True)]

    def _ended(self, path: Path, reason: str) -> Beam:
        tokens, text = self.ends.cut(path.tokens)
        score = self._score(path.logprob, len(path.tokens))
        end = path.tokens[-1] if len(tokens) < len(path.tokens) else None
        return Beam(tokens, text, score, path.logprob, path.logprobs, reason, end)

    def _score(self, logprob: float, length: int) -> float:
        return logprob / float(length) ** self.settings.length_penalty if length else logprob


def beam_search(
    model: Model, prompt_ids: Sequence[int] | NDArray[np.integer[Any]], *, num_beams: int = 4,
    num_return_sequences: int = 1, length_penalty: float = 1.0, early_stopping: EarlyStopping = False,
    num_beam_groups: int = 1, diversity_penalty: float = 0.0, max_new_tokens: int = 40, process: Process | None = None,
    decode: Decode | None = None, eos: int | Sequence[int] = (), stop: str | int | Sequence[str | int] = (),
) -> BeamResult:
    """The most probable continuations of a prompt that `num_beams` paths side by side find.

    prompt_ids: token ids [tokens], at least one, at most the context window.
    num_beams: open paths at each position; 1 is greedy decoding.
    num_return_sequences: how many hypotheses come back, at most num_beams; fewer where fewer exist.
    length_penalty: hypotheses are compared by logprob / tokens ** length_penalty, the end token counted; above 0
        favours long ones.
    early_stopping: what happens once num_beams hypotheses have ended. True ends the search; False ends it unless the
        best open beam, by its score at its length, beats the worst of them; "never" judges it by the best score that
        it could have by max_new_tokens.
    num_beam_groups, diversity_penalty: diverse beam search (Vijayakumar et al. 2018): the beams are divided into
        groups, which choose one after the other; a token loses diversity_penalty for each beam of an earlier group that
        chose it at the same position.
    max_new_tokens: when to end at the latest; the context window may end it before.
    process: (prompt and new tokens of a beam, log-probabilities float32 [vocabulary]) -> float32 [vocabulary], called
        once for each open beam; -inf bans a token. What it returns is summed up as it is.
    decode: new tokens -> text; an IndexError means that an id has none, and becomes U+FFFD.
    eos: end token ids. stop: strings (they need `decode`) or token ids that end a hypothesis and its text.
    Raises ValueError or IndexError that names the argument; ValueError if the model or `process` gives NaN, or if
    `process` bans all tokens.

    >>> import nextword
    >>> lm = nextword.load()
    >>> ids = lm.tokenizer.encode("Once upon a time there was a")
    >>> found = beam_search(lm.model, ids, max_new_tokens=4, num_return_sequences=2, decode=lm.tokenizer.decode)
    >>> [(beam.text, round(beam.score, 2)) for beam in found.beams]
    [(' man who had a', -1.56), (' king who had a', -1.67)]
    >>> len(found.tree), len(found.tree[0].candidates)
    (4, 8)
    """
    settings = BeamSettings(
        num_beams=num_beams, num_return_sequences=num_return_sequences, length_penalty=length_penalty,
        early_stopping=early_stopping, num_beam_groups=num_beam_groups, diversity_penalty=diversity_penalty,
        max_new_tokens=max_new_tokens)
    prompt = read_prompt("beam_search", model, prompt_ids)
    ends = Ends("beam_search", model.vocabulary, eos, stop, decode)
    return BeamSearch(model, prompt, settings, process, ends).run()


def _log_softmax(logits: Floats) -> Floats:
    """Log-probabilities of each row, as `sampling.log_probabilities` has them, rounded to float32 once. Raises
    ValueError if there is NaN or no largest one."""
    top = logits.max(axis=1)
    if not np.isfinite(top).all():
        raise ValueError(f"beam_search: the largest logit must be finite, got {top[~np.isfinite(top)][0]}")
    found = np.empty_like(logits)
    for row, one in zip(logits, found, strict=True):
        np.subtract(row, ops.log_sum_exp(row), out=one, dtype=np.float64, casting="same_kind")
    return found
