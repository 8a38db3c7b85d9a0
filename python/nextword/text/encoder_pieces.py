"""An encoder's SentencePiece model where there is no tokenizer.json: as the tokenizer.json that transformers makes.

XLM-RoBERTa, ALBERT, DeBERTa-v2. Language models' tokenizer.model is read in sentencepiece.py, and encoded as
SentencePiece itself does it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextword import _core
from nextword.text.added_tokens import AddedToken
from nextword.text.json_parts import Settings, unsupported
from nextword.text.pieces_json import read_pieces_json
from nextword.text.sentencepiece import CONTROL, USER_DEFINED, USER_SCORE

FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model")
_UNIGRAM = 1
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")  # XLM-RoBERTa's first ids, in the place of <unk>, <s>, </s>


def read_encoder_pieces(
    path: Path, name: str, config: Mapping[str, Any]
) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
    """The vocabulary, settings and added tokens. name: of the class, without Fast; config: tokenizer_config.json.

    Raises ValueError where the file is no SentencePiece model, or asks for what is not done here.
    """
    fields = _core.sentencepiece_fields(path.read_bytes(), path.name)
    if fields["model"] != _UNIGRAM or fields["unknown"] is None:
        raise unsupported(path.name, "trainer_spec", "of a unigram model with an unknown piece", fields["model"])
    rows = list(zip(fields["names"], fields["scores"], fields["kinds"], strict=True))
    pieces = [(name, USER_SCORE if kind == USER_DEFINED else score) for name, score, kind in rows]
    added = [_added(id, name) for id, (name, _, kind) in enumerate(rows) if kind == CONTROL]
    unknown = fields["unknown"]
    if name == "XLMRobertaTokenizer":
        pieces = [*((piece, 0.0) for piece in _FAIRSEQ), *pieces[3:], ("<mask>", 0.0)]
        added = [one | {"id": one["id"] + 1} for one in added if one["id"] > 2]
        added += [_added(id, piece) for id, piece in enumerate(_FAIRSEQ)]
        unknown = 3
    elif name == "AlbertTokenizer":  # numbers before a comma are no pieces with it
        pieces = [(piece, score - 100 * (len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()))
                  for piece, score in pieces]  # fmt: skip
    steps = _steps(path.name, name, config)
    if fields["rules"]:
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(fields["rules"]).decode()})
    steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    blanks = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    described = {
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, blanks]},
        "decoder": blanks,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": [list(piece) for piece in pieces]},
    }
    return read_pieces_json(path.name, described)


def _steps(file: str, name: str, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is done before the model's own rules."""
    flags = {key: config.get(key) for key in ("do_lower_case", "keep_accents", "split_by_punct")}
    for key, value in flags.items():
        if not isinstance(value, bool | None):
            raise unsupported("tokenizer_config.json", key, "true, false or null", value)
    if flags["split_by_punct"]:
        raise unsupported("tokenizer_config.json", "split_by_punct", f"false with {file}", True)
    steps: list[dict[str, Any]] = []
    if name == "AlbertTokenizer":
        steps = [{"type": "Replace", "pattern": {"String": old}, "content": '"'} for old in ("``", "''")]
        if not flags["keep_accents"]:
            steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    lowers = name == "AlbertTokenizer" if flags["do_lower_case"] is None else flags["do_lower_case"]
    if lowers and name != "XLMRobertaTokenizer":
        steps.append({"type": "Lowercase"})
    if name == "DebertaV2Tokenizer":
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
    return steps


def _added(id: int, piece: str) -> dict[str, Any]:
    return {"id": id, "content": piece, "special": True, "normalized": False}
