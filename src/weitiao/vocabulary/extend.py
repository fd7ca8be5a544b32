"""A model with more words: a tokenizer that grew, and embeddings that begin as the mean of what stood for them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.conversion.records import rows_in
from weitiao.data.example import Example
from weitiao.data.load import load_data
from weitiao.data.reading.files import OpenedSource
from weitiao.data.reading.paths import resolve_paths
from weitiao.errors import ModelError
from weitiao.files import full_disk_is_named, written_whole
from weitiao.models.boundary import quiet_transformers
from weitiao.models.config import ModelConfig
from weitiao.models.directory import require_free, stored_dtype
from weitiao.models.load import load_model, read_tokenizer
from weitiao.models.names import resolve_model
from weitiao.vocabulary.bpe import Bpe, choose_words, encoded, learn_words, read_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

USUAL_SIZE = 8000
_MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """How many characters texts have, and tokens before and after; and how many old ones stand no longer there."""

    characters: int
    tokens_before: int
    tokens_after: int
    changed: int


@dataclass(frozen=True, slots=True)
class Extended:
    """What was added.

    Attributes:
        path: The directory of the new model.
        words: New words, in the order of their ids.
        parts: How many of them are no words that were asked for, but parts that lead to one.
        tokens: New special tokens, behind the words.
        first_id: The id of the first new one.
        rows_before, rows_after: Rows of the embeddings, those without a token included.
        corpus, keep: How the corpus, and the texts that should stay as they are, are cut; None without any.
    """

    path: Path
    words: tuple[str, ...]
    parts: int
    tokens: tuple[str, ...]
    first_id: int
    rows_before: int
    rows_after: int
    corpus: Cut | None
    keep: Cut | None


def extend(
    model: str,
    output: Path,
    *,
    other: Path | None = None,
    corpus: Sequence[str] = (),
    size: int | None = None,
    tokens: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> Extended:
    """Write a model with new words, whose embeddings are the mean of those of the pieces that they were cut into.

    For a text in which no new word stands, the new model gives the logits of the old one, and more behind them. Weights
    stay in their files until they are written anew.

    Args:
        model: A name, directory, hub id or GGUF file.
        output: Where the new model goes; must not exist, or be empty.
        other: A tokenizer whose words are added: a directory, a `tokenizer.json`, or a `.model` of SentencePiece.
        corpus: Files of rows or raw text. Without `other`, words are learned from them; with it, the words that they
            use are added.
        size: How many words; 8000 that are learned, or all of `other`, when it is None.
        tokens: Special tokens, which are never cut.
        keep: Files of text that should stay as it is, to count what changes in them.

    Raises:
        ModelError: There is no such model, its tokenizer cannot grow, nothing is new, or `output` is taken.
        DataError: A file cannot be read.
    """
    require_free(output)
    if size is not None and not (other or corpus):
        raise ModelError("A size is given, and no words to choose from.", "Give --tokenizer or --corpus, or no --size.")
    source = resolve_model(ModelConfig(name=model))
    before = read_tokenizer(source)
    texts, kept = _texts(corpus), _texts(keep)
    bpe = _grown(model, before.backend_tokenizer, other, texts, size) if other or texts else None
    first = max(before.get_vocab().values()) + 1
    loaded = load_model(ModelConfig(name=str(source), dtype=stored_dtype(source), map_weights=True))
    rows = loaded.get_input_embeddings().weight.shape[0]
    if first > rows:
        raise ModelError(
            f"The tokenizer of {model} has ids up to {first - 1}, its embeddings have {rows} rows.",
            "Take the tokenizer that belongs to the model.",
        )
    with full_disk_is_named(str(output), "Make room, or name another output."), written_whole(output) as directory:
        after = _write_tokenizer(before, bpe, tokens, directory)
        pieces = _pieces(before, after)
        if not pieces:
            raise ModelError(f"{model} has all of these words already.", "Name others, or use it as it is.")
        _resize(loaded, first, pieces)
        with quiet_transformers():
            loaded.save_pretrained(str(directory), max_shard_size="1GB")
        if (settings := source / "generation_config.json").exists():
            shutil.copyfile(settings, directory / settings.name)
    new = [] if bpe is None else bpe.new
    return Extended(
        path=output,
        words=tuple(new),
        parts=0 if bpe is None else len(set(new) - bpe.asked),
        tokens=tuple(after.convert_ids_to_tokens(sorted(pieces)[len(new) :])),
        first_id=first,
        rows_before=rows,
        rows_after=loaded.get_input_embeddings().weight.shape[0],
        corpus=_cut(before, after, texts),
        keep=_cut(before, after, kept),
    )


def _texts(files: Sequence[str]) -> list[str]:
    """The raw texts of files; of conversations, what is said in them, up to the better of two answers."""
    rows = [row for file in files for row in _rows(DataConfig(train=(SourceConfig(path=file),)))]
    return [row.text or "\n".join(str(turn.get("content")) for turn in row.messages) for row in rows]


def _rows(config: DataConfig) -> Sequence[Example]:
    config = resolve_paths(config, (Path.cwd(),))
    return load_data(config, rows=rows_in(OpenedSource(config.train[0]))).train


def _grown(name: str, backend: Tokenizer, other: Path | None, texts: Sequence[str], size: int | None) -> Bpe:
    bpe = Bpe(backend, name)
    if other is None:
        learn_words(bpe, texts, size or USUAL_SIZE)
        return bpe
    words = read_words(other)
    bpe.add_words(words)
    words = [word for word in words if bpe.spelling(word) in bpe.asked]
    chosen = choose_words(bpe, words, texts, size) if texts else words[:size]
    bpe = Bpe(backend, name)
    bpe.add_words(chosen)
    return bpe


def _write_tokenizer(
    before: PreTrainedTokenizerFast, bpe: Bpe | None, tokens: Sequence[str], directory: Path
) -> PreTrainedTokenizerFast:
    """Write the tokenizer with its new words, and read it again as every program will.

    Raises:
        ModelError: What is read does not have the new words: its class takes them from elsewhere.
    """
    from tokenizers import AddedToken

    before.save_pretrained(str(directory))
    if bpe is not None:
        bpe.backend().save(str(directory / "tokenizer.json"))
    after = read_tokenizer(directory)
    after.add_tokens([AddedToken(token, normalized=False, special=True) for token in tokens], special_tokens=True)
    after.save_pretrained(str(directory))
    read = read_tokenizer(directory)
    wanted = before.get_vocab() | ({} if bpe is None else bpe.ids)
    found, model = read.get_vocab(), read.backend_tokenizer.model
    lost = [token for token, index in wanted.items() if found.get(token) != index]
    cut = [] if bpe is None else [token for token in bpe.new if len(model.tokenize(token)) != 1]
    if lost or cut:
        raise ModelError(
            f"A {type(read).__name__} does not read its words as they were written, {(lost or cut)[0]!r} for instance.",
            "Set tokenizer_class in the model's tokenizer_config.json to PreTrainedTokenizerFast.",
        )
    return read


def _pieces(before: PreTrainedTokenizerFast, after: PreTrainedTokenizerFast) -> dict[int, list[int]]:
    """For every new id the old ids that stood for its text."""
    known = before.get_vocab()
    special = set(after.get_added_vocab())
    model = before.backend_tokenizer.model
    return {
        index: before.encode(token, add_special_tokens=False)
        if token in special
        else [one.id for one in model.tokenize(token)]
        for token, index in after.get_vocab().items()
        if token not in known
    }


def _resize(model: PreTrainedModel, first: int, pieces: Mapping[int, Sequence[int]]) -> None:
    """Give every new id the mean of its pieces, in both embeddings; rows without a token have the mean of all.

    The rows are a multiple of 8 afterwards if they were before.
    """
    import torch

    rows = model.get_input_embeddings().weight.shape[0]
    size = max(rows, max(pieces) + 1)
    model.resize_token_embeddings(size + (-size % _MULTIPLE if rows % _MULTIPLE == 0 else 0), mean_resizing=False)
    head = model.get_output_embeddings()
    ends = {id(one): one for one in (model.get_input_embeddings().weight, head.weight, getattr(head, "bias", None))}
    with torch.no_grad():
        for weight in (one for one in ends.values() if one is not None):  # tied ones once
            weight[rows:] = weight[:first].mean(0, dtype=torch.float32)
            for index, parts in pieces.items():
                weight[index] = weight[list(parts)].float().mean(0)


def _cut(before: PreTrainedTokenizerFast, after: PreTrainedTokenizerFast, texts: Sequence[str]) -> Cut | None:
    counts = np.zeros(3, dtype=int)
    for old, new in zip(*(encoded(one.backend_tokenizer, texts) for one in (before, after)), strict=True):
        stood, stands = (Counter(zip(one.offsets, one.ids, strict=True)) for one in (old, new))
        counts += len(old), len(new), (stood - stands).total()
    return Cut(sum(map(len, texts)), *counts.tolist()) if texts else None
