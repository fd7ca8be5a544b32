"""Invented templates and conversations: a sequence holds the prompt that is asked and the answer, or there is an error.

What has to come out is said a second time here, from the pieces that a template is put together of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from weitiao.data.example import Example
from weitiao.errors import RenderingError
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import Prompts, Rendered, render

Messages = list[dict[str, str]]
END = "<|im_end|>"


@dataclass(frozen=True)
class Pieces:
    """A template, in pieces.

    Attributes:
        beginning: Printed before all turns.
        header: Before each turn, with its role.
        inserted: Before the last answer.
        closing: Behind the end of turn.
        asks: What the prompt for an answer ends in, beyond the header; None when it ends before the header.
        forgets: Whether the reasoning of earlier turns is taken out.
        trims: Whether contents are trimmed.
    """

    beginning: str
    header: str
    inserted: str
    closing: str
    asks: str | None
    forgets: bool
    trims: bool

    @property
    def template(self) -> str:
        content = "m.content | trim" if self.trims else "m.content"
        earlier = "m.content.split('</think>')[-1].lstrip('\n')" if self.forgets else content
        header = f"{self.header!r} + m.role + '\n'"
        asked = "" if self.asks is None else f"{self.header}assistant\n{self.asks}"
        return (
            f"{{{{- {self.beginning!r} -}}}}{{%- for m in messages -%}}{{{{- {header} -}}}}"
            "{%- if m.role != 'assistant' -%}{{- " + content + " -}}"
            "{%- elif loop.last -%}{{- " + f"{self.inserted!r} + ({content})" + " -}}"
            "{%- else -%}{{- " + earlier + " -}}{%- endif -%}"
            f"{{{{- {END + self.closing!r} -}}}}{{%- endfor -%}}"
            f"{{%- if add_generation_prompt -%}}{{{{- {asked!r} -}}}}{{%- endif -%}}"
        )

    def written(self, content: str) -> str | None:
        """What a model has to write for an answer; None where it does not follow from the prompt."""
        printed = content.strip() if self.trims else content
        if self.asks is None:
            return self.header + "assistant\n" + self.inserted + printed + END
        if (self.inserted + printed).startswith(self.asks):
            return (self.inserted + printed).removeprefix(self.asks) + END
        if self.inserted:
            return None
        # The prompt holds what the printed answer does not: the answer follows it as it is.
        core = self.asks.strip()
        if core and printed.lstrip().startswith(core):
            tail = self.asks[len(self.asks.rstrip()) :]
            return printed.lstrip()[len(core) :].removeprefix(tail) + END
        return printed + END


PIECES = st.builds(
    Pieces,
    beginning=st.sampled_from(["", "<s>", "Be of use.\n", "<|im_start|>system\nYou are small.<|im_end|>\n"]),
    header=st.sampled_from(["<|im_start|>", "", "### ", "[", "\n"]),
    inserted=st.sampled_from(["", " ", "<think>\n\n</think>\n\n", "Answer: "]),
    closing=st.sampled_from(["", "\n", "\n\n", " "]),
    asks=st.sampled_from([None, "", "", "<think>\n", "\n"]),
    forgets=st.booleans(),
    trims=st.booleans(),
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["It is 12.", "<think>\nhm\n</think>\n\nred", "<think>hm</think>red", " a ", "\n\nb", "你好🙂"]),
    st.sampled_from(["assistant\n", "<|im_end|>", "<|im_start|>assistant\n", "{{ x }}", "<think>\n", "###", "'\"\\"]),
).filter(lambda text: bool(text.strip()))


@st.composite
def conversations(draw: st.DrawFn) -> Messages:
    roles = ["user", "assistant"] * draw(st.integers(1, 3))
    if draw(st.booleans()):
        roles.insert(0, "system")
    return [{"role": role, "content": draw(TEXTS)} for role in roles]


def rendered(tokenizer: Any, messages: Messages) -> Rendered:
    return render([Example("r:1", tuple(messages))], tokenizer, RenderingConfig(), max_context=100_000)


def spans(weights: tuple[float, ...]) -> list[tuple[int, int]]:
    edges = [i for i in range(1, len(weights) + 1) if (weights[i] if i < len(weights) else 0.0) != weights[i - 1]]
    return list(zip(edges[::2], edges[1::2], strict=True))


def normal(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer.normalize_str(text) if normalizer else text


@given(kind=st.sampled_from(["byte_level", "newline_runs"]), pieces=PIECES, messages=conversations())
def test_every_answer_stands_behind_its_prompt(
    tokenizers: dict[str, Any], kind: str, pieces: Pieces, messages: Messages
) -> None:
    tokenizer = tokenizers[kind]
    tokenizer.chat_template = pieces.template
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    written = [pieces.written(messages[index]["content"]) for index in answers]
    try:
        sequences = rendered(tokenizer, messages).sequences
    except RenderingError as error:
        assert None in written and "does not follow from the prompt" in error.what
        return
    learned = [(list(one.token_ids), *span) for one in sequences for span in spans(one.weights)]
    assert len(learned) == len(answers)
    for index, text, (ids, start, stop) in zip(answers, written, learned, strict=True):
        assert text is not None
        asked = messages[:index]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        assert ids[:start] == Prompts(tokenizer)(asked)
        assert tokenizer.decode(ids[:start]) == normal(tokenizer, prompt)
        if index == answers[0]:  # a later prompt may be cut into other tokens where an earlier answer ended
            assert ids[:start] == tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids[start:stop]) == normal(tokenizer, text)
        content = messages[index]["content"]
        if "<" not in content and not (pieces.asks or "").strip():
            # Who writes what was learned has given the answer, whatever the template puts around it.
            read = AnswerReader(tokenizer).read(asked, (), ids[start : stop - 1])
            assert read.strip() == normal(tokenizer, content).strip()


WORDS = st.sampled_from(
    [
        "{%- for m in messages -%}", "{%- endfor -%}", "{{- m.content -}}", "{{- m.role -}}", "<|im_start|>", "</s>",
        "{%- if add_generation_prompt -%}", "{%- endif -%}", "{%- else -%}", "{{- messages[0].content -}}", "\n", "x",
        "{{- messages[-1].content | upper -}}", "{{- raise_exception('no') -}}", "{{- nothing.at_all -}}",
        "{%- if m.role == 'assistant' -%}", "{{- m.content[:3] -}}", "{{- messages | length -}}", "{{- m | tojson -}}",
        "{%- set m = messages[1] -%}", "{{- m.content.split('a')[1] -}}", "{{- 1 / (messages | length - 2) -}}",
        "{%- if loop.last -%}", "{{- m.content | reverse -}}", "{% generation %}", "{% endgeneration %}", "<|im_end|>",
        "{{- strftime_now('%Y') -}}", "{%- macro f() -%}{{- f() -}}{%- endmacro -%}", "{{- f() -}}", "{%- break -%}",
        "{{- m.content * 2 -}}", "{{- bos_token -}}",
    ]
)  # fmt: skip


@given(words=st.lists(WORDS, min_size=1, max_size=9), messages=conversations())
@example(
    words=["{{- messages[-1].content | upper -}}", "<|im_start|>"],  # it prints a question as it prints its answer
    messages=[
        {"role": "user", "content": "0"}, {"role": "assistant", "content": "0"},
        {"role": "user", "content": "0"}, {"role": "assistant", "content": "00"},
    ],
)  # fmt: skip
def test_any_template_gives_sequences_that_are_asked_for_or_one_error(
    tokenizers: dict[str, Any], words: list[str], messages: Messages
) -> None:
    tokenizer = tokenizers["byte_level"]
    tokenizer.chat_template = "".join(words)
    try:
        sequences = rendered(tokenizer, messages).sequences
    except RenderingError:
        return
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    learned = [(one, *span) for one in sequences for span in spans(one.weights)]
    assert len(learned) == len(answers)
    for index, (sequence, start, _) in zip(answers, learned, strict=True):
        assert sequence.token_ids[:start].tolist() == Prompts(tokenizer)(messages[:index])
