"""Ollama: a GGUF file beside a `Modelfile` whose template prints what the chat template of the training prints.

Ollama renders by a template of Go's, not by the chat template in the file. It is made of what the chat template prints
around the messages of a probe, and held against it on further conversations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.data.example import Message
from weitiao.data.reading.rows import BadRow
from weitiao.errors import ModelError
from weitiao.evaluation.likelihood import first_ids
from weitiao.export.formats import Format
from weitiao.export.gguf import parse as parse_gguf
from weitiao.export.gguf import write as write_gguf
from weitiao.export.source import Source
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_config, read_tokenizer
from weitiao.rendering.printing import Printer, common_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAMES = ("ollama",)
_KIND = "q8_0"
_MOST_CONTEXT = 8192
"""Tokens that the Modelfile asks room for at most: Ollama takes the memory for all of them when it loads."""

_LOADING = (
    ("Ollama", "ollama create NAME -f {directory}/Modelfile\nollama run NAME"),
    ("llama.cpp", "llama-server -m {directory}/{file} --jinja"),
    ("weitiao", "weitiao serve {directory}/{file}"),
    ("LM Studio", "lms import {directory}/{file}"),
    ("Python", 'from llama_cpp import Llama\n\nmodel = Llama("{directory}/{file}")'),
)


def parse(name: str) -> Format | None:
    """The format of a name, `ollama` or such as `ollama-q4_k_m`; None for a name of others."""
    word, dash, kind = name.partition("-")
    kind = kind if dash else _KIND
    found = parse_gguf(f"gguf-{kind}") if word == "ollama" else None
    if found is None:
        return None
    return Format(name, found.bits, "llama.cpp", found.check, partial(_write, kind=kind), found.opened_by, _LOADING)


def _write(source: Source, directory: Path, *, kind: str) -> None:
    whole = source.whole()
    tokenizer = read_tokenizer(whole)
    pieces = find_pieces(tokenizer)
    stops = tokenizer.convert_ids_to_tokens(sorted(source.ends))
    from weitiao.models.parts import context_length

    context = context_length(load_config(ModelConfig(name=str(whole)))) or _MOST_CONTEXT
    write_gguf(source, directory, kind=kind)
    text = modelfile(pieces, f"model-{kind}.gguf", stops, min(context, _MOST_CONTEXT))
    (directory / "Modelfile").write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a chat template prints around messages.

    Attributes:
        system: Before and behind a system message, from the beginning on.
        start: What stands at the beginning instead when there is none.
        user, assistant: Before and behind the message.
        answer: Behind the last message, where an answer is to follow.
        trims: Whether the chat template trims messages, which Ollama cannot.
    """

    system: tuple[str, str]
    start: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    answer: str
    trims: bool = False

    def print(self, turns: list[Message]) -> str:
        """What Ollama makes of a conversation."""
        first = turns[0]
        system = first["content"] if first["role"] == "system" else ""
        text = f"{self.system[0]}{system}{self.system[1]}" if system else self.start
        for turn in turns[1 if system else 0 :]:
            before, behind = self.user if turn["role"] == "user" else self.assistant
            text += f"{before}{turn['content']}{behind}"
        return text + self.answer


def find_pieces(tokenizer: PreTrainedTokenizerFast) -> Pieces:
    """What the chat template of a tokenizer prints around messages, if that is the same wherever they stand.

    Raises:
        ModelError: It is not, or it takes no system message.
    """
    printer = Printer(tokenizer)
    marks = ["\ue000", "\ue001", "\ue002", "\ue003"]
    try:
        whole = _cut(printer, _turns(marks), marks)
        plain = _cut(printer, _turns(marks)[1:], marks[1:])
        behind_user = common_prefix(whole[2], whole[4])
        ends = [text[::-1] for text in (plain[0], whole[1], whole[3])]
        before_user = min(common_prefix(ends[0], ends[1]), common_prefix(ends[1], ends[2]))
        system_end, assistant_end = len(whole[1]) - before_user, len(whole[3]) - before_user
        pieces = Pieces(
            system=(whole[0], whole[1][:system_end]),
            start=plain[0][: len(plain[0]) - before_user],
            user=(whole[1][system_end:], whole[2][:behind_user]),
            assistant=(whole[2][behind_user:], whole[3][:assistant_end]),
            answer=whole[4][behind_user:],
        )
        same = [_prints(printer, pieces, turns) for turns in _conversations("Hello.", "1 + 1 = 2\n\nYes")]
        edges = [_prints(printer, pieces, turns) for turns in _conversations(" Hello \n", "\nYes ")]
    except (BadRow, KeyError) as error:
        raise _unlike(str(error)) from error
    if not all(same):
        raise _unlike("what it prints around a message depends on the others")
    before, behind = pieces.system
    system, start = (_without_bos(tokenizer, text) for text in (before, pieces.start))
    return replace(pieces, system=(system, behind), start=start, trims=not all(edges))


def modelfile(pieces: Pieces, file: str, stops: list[str], context: int) -> str:
    """The `Modelfile`."""
    (system, behind_system), (user, behind_user) = map(_quoted, pieces.system), map(_quoted, pieces.user)
    assistant, behind_assistant = map(_quoted, pieces.assistant)
    template = "".join((
        f"{{{{ if .System }}}}{system}{{{{ .System }}}}{behind_system}",
        f"{{{{ else }}}}{_quoted(pieces.start)}{{{{ end }}}}",
        f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}{{{{ .Content }}}}{behind_user}',
        f'{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ .Content }}}}{behind_assistant}',
        f"{{{{ end }}}}{{{{ end }}}}{_quoted(pieces.answer)}",
    ))  # fmt: skip
    notes = ["# The chat template of the training trims messages, and Ollama cannot: trim them yourself."]
    lines = [
        *(notes if pieces.trims else []),
        f"FROM ./{file}",
        f'TEMPLATE """{template}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        "PARAMETER temperature 0",
        f"PARAMETER num_ctx {context}",
    ]
    return "\n".join(lines) + "\n"


def _turns(contents: list[str]) -> list[Message]:
    roles = ("system", "user", "assistant", "user")
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]


def _conversations(one: str, other: str) -> Iterator[list[Message]]:
    """Conversations of several lengths, with a system message and without."""
    for turns in (_turns([one, other, one, other]), _turns([other, one, one, one])):
        yield from (turns, turns[1:], turns[:2], turns[1:2], [*turns, turns[2], turns[3]])


def _cut(printer: Printer, turns: list[Message], marks: list[str]) -> list[str]:
    """What is printed before, between and behind the contents of messages, each a mark."""
    rest, found = printer.print(turns, (), for_answer=True), []
    for mark in marks:
        before, there, rest = rest.partition(mark)
        if not there or mark in rest:
            raise _unlike("it leaves a message out, or prints one twice")
        found.append(before)
    return [*found, rest]


def _prints(printer: Printer, pieces: Pieces, turns: list[Message]) -> bool:
    return printer.print(turns, (), for_answer=True) == pieces.print(turns)


def _without_bos(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    """A beginning without the token that llama.cpp puts there by itself."""
    return text.removeprefix(str(tokenizer.bos_token)) if first_ids(tokenizer) else text


def _quoted(text: str) -> str:
    """A text in a template of Go's, inside three quotation marks."""
    if '"""' in text:
        raise _unlike("it prints three quotation marks")
    return text.replace("{{", '{{ "{{" }}')


def _unlike(reason: str) -> ModelError:
    return ModelError(
        f"Ollama cannot print what the chat template prints: {reason}.",
        "Export gguf-q8_0, and serve it with llama.cpp or weitiao serve, which use the chat template itself.",
    )
