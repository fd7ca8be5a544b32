"""A judge model whose choice is known: its reply depends on one token, which its chat template chooses.

Attention and MLP add nothing, so the state at a token is the embedding of that token, and the head maps the embeddings
of two tokens to the letters A and B. The template ends the prompt in the one token when the answer in the first place
contains GOOD, and in the other when it does not.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

SAYS_A, SAYS_B = "<|endoftext|>", "\n"

_TURNS = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant' + mark.value + message['content'] + '<|im_end|>' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant' + mark.value }}{% endif %}"
)
LOOKS_AT_THE_FIRST = (
    "{% set mark = namespace(value='\n') %}{% for message in messages %}"
    "{% if 'GOOD' in message['content'].split('[Answer B]')[0] %}{% set mark.value = '<|endoftext|>' %}{% endif %}"
    "{% endfor %}" + _TURNS
)
ALWAYS_A = "{% set mark = namespace(value='<|endoftext|>') %}" + _TURNS
ALWAYS_B = "{% set mark = namespace(value='\n') %}" + _TURNS


def build(directory: Path, tokenizer_dir: Path, template: str, *, strength: float = 20.0) -> Path:
    """Save the model with a template.

    Args:
        directory: Where to.
        tokenizer_dir: Whose tokenizer it takes.
        template: One of those above.
        strength: Logit of the letter that it says; that of every other token is 0.
    """
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer.chat_template = template
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
        for place, (token, letter) in enumerate(((SAYS_A, "A"), (SAYS_B, "B"))):
            (token_id,), (letter_id,) = (
                tokenizer(text, add_special_tokens=False).input_ids for text in (token, letter)
            )
            model.get_input_embeddings().weight[token_id, place] = 1.0
            # after the norm the state is 4 in its place: the root of the width
            model.get_output_embeddings().weight[letter_id, place] = strength / 4
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
