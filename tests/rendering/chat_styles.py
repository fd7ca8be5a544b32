"""Chat templates in the styles of the common models, each with what its answers look like, said a second time in
Python: what the model has to write for each turn, end-of-turn token included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]

SMOLLM2 = """
{%- if messages[0].role != 'system' -%}
{{- '<|im_start|>system\nYou are a small helpful assistant<|im_end|>\n' -}}
{%- endif -%}
{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""

CHATML = """
{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""

LLAMA3 = """
{{- bos_token -}}
{%- for m in messages -%}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}
"""

MISTRAL_FIRST = """
{{- '<s>' -}}
{%- set system = messages[0].content + '\n\n' if messages[0].role == 'system' else '' -%}
{%- set ns = namespace(first=true) -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}
{{- '[INST] ' + (system if ns.first else '') + m.content + ' [/INST]' -}}
{%- set ns.first = false -%}
{%- elif m.role == 'assistant' -%}
{{- ' ' + m.content | trim + '</s>' -}}
{%- endif -%}
{%- endfor -%}
"""

MISTRAL_LAST = """
{{- '<s>' -}}
{%- set system = messages[0].content + '\n\n' if messages[0].role == 'system' else '' -%}
{%- set last = (messages | selectattr('role', 'equalto', 'user') | list | length) -%}
{%- set ns = namespace(users=0) -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}
{%- set ns.users = ns.users + 1 -%}
{{- '[INST] ' + (system if ns.users == last else '') + m.content + ' [/INST]' -}}
{%- elif m.role == 'assistant' -%}
{{- ' ' + m.content | trim + '</s>' -}}
{%- endif -%}
{%- endfor -%}
"""

QWEN25 = """
{%- if messages[0].role == 'system' or tools -%}
{{- '<|im_start|>system\n' + (messages[0].content if messages[0].role == 'system' else 'Be of use.') -}}
{%- for tool in tools or [] -%}{{- '\n' + tool | tojson -}}{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- else -%}
{{- '<|im_start|>system\nBe of use.<|im_end|>\n' -}}
{%- endif -%}
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{{- '<|im_start|>assistant' -}}
{%- if m.content -%}{{- '\n' + m.content -}}{%- endif -%}
{%- for call in m.tool_calls or [] -%}
{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson + '}\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- elif m.role != 'system' or not loop.first -%}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""

QWEN3 = """
{%- set ns = namespace(last=-1) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{%- set reasoning = '' -%}
{%- set body = m.content -%}
{%- if '</think>' in body -%}
{%- set reasoning = body.split('</think>')[0].split('<think>')[-1].strip('\n') -%}
{%- set body = body.split('</think>')[-1].lstrip('\n') -%}
{%- endif -%}
{%- if loop.index0 > ns.last -%}
{{- '<|im_start|>assistant\n<think>\n' + reasoning + '\n</think>\n\n' + body.lstrip('\n') -}}
{%- else -%}
{{- '<|im_start|>assistant\n' + body -}}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- else -%}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def _plain(end: str, before: str = "", *, trims: bool = False) -> Callable[[Messages], list[str]]:
    def answers(messages: Messages) -> list[str]:
        contents = [message["content"] for message in messages if message["role"] == "assistant"]
        return [before + (content.strip() if trims else content) + end for content in contents]

    return answers


def _qwen25(messages: Messages) -> list[str]:
    # The newline after "assistant" is the prompt's, unless the answer is empty and the template leaves it out.
    return [m["content"] + "<|im_end|>" if m["content"] else "<|im_end|>" for m in messages if m["role"] == "assistant"]


def _qwen3(messages: Messages) -> list[str]:
    # Each answer as it is printed when the conversation ends there, with its reasoning or an empty think block.
    answers = []
    for message in messages:
        if message["role"] != "assistant":
            continue
        reasoning, tag, body = message["content"].partition("</think>")
        if tag:
            reasoning, body = reasoning.removeprefix("<think>").strip("\n"), body.lstrip("\n")
        else:
            reasoning, body = "", message["content"]
        answers.append(f"<think>\n{reasoning}\n</think>\n\n" + body.lstrip("\n") + "<|im_end|>")
    return answers


@dataclass(frozen=True)
class Style:
    """A template and the texts that its answers become."""

    template: str
    answers: Callable[[Messages], list[str]]


STYLES = {
    "smollm2": Style(SMOLLM2, _plain("<|im_end|>")),
    "chatml": Style(CHATML, _plain("<|im_end|>")),
    "llama3": Style(LLAMA3, _plain("<|eot_id|>", trims=True)),
    "mistral_system_first": Style(MISTRAL_FIRST, _plain("</s>", before=" ", trims=True)),
    "mistral_system_last": Style(MISTRAL_LAST, _plain("</s>", before=" ", trims=True)),
    "qwen25": Style(QWEN25, _qwen25),
    "qwen3": Style(QWEN3, _qwen3),
}
