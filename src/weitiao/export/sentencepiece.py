"""The SentencePiece model of a base beside what was tuned: for some families (Phi-3, Gemma 2), llama.cpp's converter
reads the vocabulary from nowhere else, and transformers no longer saves it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

_MODEL = "tokenizer.model"


def beside_sentencepiece(whole: Path, base: Path, place: Path) -> Path:
    """A directory for the converter: the model's files, with the SentencePiece model of its base where that fits.

    Args:
        whole: The tuned model, as a Hugging Face directory.
        base: That of its base model.
        place: A new directory, of links to the files; it is only made if it is needed.

    Returns:
        `place`; `whole` where the base has no such file, or the tuned model another vocabulary.
    """
    if not (base / _MODEL).is_file() or (whole / _MODEL).exists():
        return whole
    from sentencepiece import SentencePieceProcessor

    tokenizer = json.loads((whole / "tokenizer.json").read_text(encoding="utf-8"))
    if SentencePieceProcessor(model_file=str(base / _MODEL)).vocab_size() != len(tokenizer["model"]["vocab"]):
        return whole
    place.mkdir()
    for file in whole.iterdir():
        (place / file.name).symlink_to(file.resolve())
    shutil.copyfile(base / _MODEL, place / _MODEL)
    settings = json.loads((whole / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = {str(one["id"]): {key: one[key] for key in ("content", "special")} for one in tokenizer["added_tokens"]}
    config = place / "tokenizer_config.json"
    config.unlink()
    config.write_text(json.dumps({**settings, "added_tokens_decoder": added}), encoding="utf-8")
    return place
