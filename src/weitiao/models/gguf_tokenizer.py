r"""The tokenizer that a GGUF file describes, cutting text the way its vocabulary was learned.

A GGUF file names its pre-tokenizer (`tokenizer.ggml.pre`) but does not hold it. transformers knows by which expression
some names split text. What it builds for others is GPT-2's, which gives other tokens, silently; for `smollm` the digits
are not cut apart. Here a name has the whole rule that the model's own `tokenizer.json` and llama.cpp publish for it, or
the file is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class PreTokenizerRule:
    """What a rule has beside the expression by which transformers splits text for it.

    Attributes:
        single_digits: Whether every digit is a piece of its own, before anything else.
        nfc: Whether text is brought to Unicode's composed form first.
        ignore_merges: Whether a piece that is a vocabulary entry is taken whole, without merging up to it.
        add_bos: Whether a beginning-of-sequence token is added where the file does not say.
    """

    single_digits: bool = False
    nfc: bool = False
    ignore_merges: bool = False
    add_bos: bool = False


_GPT2 = PreTokenizerRule()
_SINGLE_DIGITS = PreTokenizerRule(single_digits=True)
_LLAMA3 = PreTokenizerRule(ignore_merges=True, add_bos=True)
_QWEN2 = PreTokenizerRule(nfc=True)

PRE_TOKENIZER_RULES = {
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "olmo": _GPT2,
    "smollm": _SINGLE_DIGITS,
    "starcoder": _SINGLE_DIGITS,
    "refact": _SINGLE_DIGITS,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "command-r": _SINGLE_DIGITS,
    "qwen35": PreTokenizerRule(),
    "dbrx": PreTokenizerRule(),
    "smaug-bpe": PreTokenizerRule(),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}
"""`tokenizer.ggml.pre` to its rule: the names whose rule is known and was checked."""


def read_gguf_tokenizer(path: Path, *, max_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a GGUF file, with its special tokens and chat template.

    Args:
        path: The GGUF file.
        max_length: The longest sequence the model was made for, in tokens.

    Returns:
        A tokenizer that `save_pretrained` and `AutoTokenizer` keep as it is.

    Raises:
        ModelError: The file's kind of vocabulary, or its pre-tokenizer, is not one whose rule is known here.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    architecture, vocabulary, settings = get_gguf_tokenizer(str(path))
    if vocabulary.get("tokenizer_type") == "llama":
        backend, _ = convert_gguf_tokenizer("llama", vocabulary)
        _as_sentencepiece(backend, prefix=_says(path, "add_space_prefix", default=True))
        settings.setdefault("add_bos_token", True)
    else:
        rule = _rule_for(path, vocabulary)
        backend, _ = convert_gguf_tokenizer(architecture, vocabulary)
        _apply(rule, backend)
        settings.setdefault("add_bos_token", rule.add_bos)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=max_length, clean_up_tokenization_spaces=False, **settings
    )


def _says(path: Path, name: str, *, default: bool) -> bool:
    """A switch of the file's tokenizer."""
    from gguf import GGUFReader

    field = GGUFReader(path).fields.get(f"tokenizer.ggml.{name}")
    return default if field is None else bool(field.contents())


def _as_sentencepiece(backend: Tokenizer, *, prefix: bool) -> None:
    """Cut text as SentencePiece does: blanks become a letter of their own, one is put before the text, nothing else.

    transformers puts it only before the first piece of text and joins blanks in another way.
    """
    from tokenizers import normalizers

    steps = [normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence([*([normalizers.Prepend("▁")] if prefix else []), *steps])
    backend.pre_tokenizer = None


def _rule_for(path: Path, vocabulary: dict[str, Any]) -> PreTokenizerRule:
    kind, name = vocabulary.get("tokenizer_type"), vocabulary.get("pre_tokenizer_type")
    remedy = "Use the model's Hugging Face directory or hub id, which brings its own tokenizer."
    if kind != "gpt2":
        raise ModelError(
            f"{path} has a {kind!r} vocabulary; byte-level BPE ('gpt2') and SentencePiece ('llama') are read.",
            remedy,
        )
    if name not in PRE_TOKENIZER_RULES:
        known = ", ".join(PRE_TOKENIZER_RULES)
        raise ModelError(
            f"{path} names the pre-tokenizer {name!r}, whose rule is not known here (known: {known}).", remedy
        )
    return PRE_TOKENIZER_RULES[name]


def _apply(rule: PreTokenizerRule, backend: Tokenizer) -> None:
    """Put the rule's steps into a tokenizer in place."""
    from tokenizers import normalizers, pre_tokenizers

    if rule.single_digits:
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.normalizer = normalizers.NFC() if rule.nfc else None
    backend.model.ignore_merges = rule.ignore_merges
