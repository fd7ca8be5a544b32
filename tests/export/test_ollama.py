"""A Modelfile prints, message by message, what the chat template prints; where it cannot, that is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import Environment
from rendering.chat_styles import STYLES
from transformers import AutoTokenizer

from weitiao.errors import ModelError
from weitiao.export.ollama import find_pieces, modelfile

U, A = {"role": "user", "content": "1 + 1 = {{ 2 }}?"}, {"role": "assistant", "content": "Yes,\n\nit is."}
SYSTEM = {"role": "system", "content": "Be brief."}
CONVERSATIONS = ([U], [SYSTEM, U], [U, A, U], [SYSTEM, U, A, U, A, U])


def printed_by_go(text: str, turns: list[dict[str, str]]) -> str:
    """What the template of a Modelfile prints: the few words of Go's language in it, said in Jinja's."""
    (template,) = re.findall(r'TEMPLATE """(.*?)"""\n', text, re.DOTALL)
    closing: list[str] = []

    def word(found: re.Match[str]) -> str:
        match found[1].split():
            case ["if", ".System"]:
                closing.append("endif")
                return "{% if system %}"
            case ["if", "eq", ".Role", role]:
                closing.append("endif")
                return f"{{% if m.role == {role} %}}"
            case ["else", "if", "eq", ".Role", role]:
                return f"{{% elif m.role == {role} %}}"
            case ["range", ".Messages"]:
                closing.append("endfor")
                return "{% for m in turns %}"
            case ["else"]:
                return "{% else %}"
            case ["end"]:
                return f"{{% {closing.pop()} %}}"
            case [".System"]:
                return "{{ system }}"
            case [".Content"]:
                return "{{ m.content }}"
        raise AssertionError(found[0])

    jinja = Environment(keep_trailing_newline=True).from_string(re.sub(r"\{\{ (.*?) \}\}", word, template))
    system = "".join(one["content"] for one in turns if one["role"] == "system")
    return jinja.render(system=system, turns=turns)


@pytest.mark.parametrize("style", ["smollm2", "chatml", "llama3", "qwen25"])
def test_the_template_prints_what_the_chat_template_prints(style: str, tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    tokenizer.chat_template = next(one.template for name, one in STYLES.items() if name.lower() == style)
    text = modelfile(find_pieces(tokenizer), "model.gguf", ["<|im_end|>"], 512)
    for turns in CONVERSATIONS:
        expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert printed_by_go(text, turns) == expected
    assert 'PARAMETER stop "<|im_end|>"\n' in text
    assert ("trims" in text) == (style == "llama3")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}", "depends on the others"),
        ("{{ messages[-1].content }}", "leaves a message out"),
    ],
)
def test_a_template_that_cannot_be_said_so_is_refused(template: str, reason: str, tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=reason):
        find_pieces(tokenizer)
