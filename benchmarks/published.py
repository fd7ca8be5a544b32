"""What others have published about the memory that tuning takes: facts to hold a forecast against, not measured here.

`python -m benchmarks.published` prints them.
"""

from __future__ import annotations

from dataclasses import dataclass

LLAMA_FACTORY = "https://github.com/hiyouga/LLaMA-Factory/blob/00409ff28a30f48d13b808029d37861423673a4a/README.md#hardware-requirement"
QLORA = "https://arxiv.org/abs/2305.14314"
LORA = "https://arxiv.org/abs/2106.09685"


@dataclass(frozen=True, slots=True)
class Published:
    """One published figure.

    Attributes:
        method: `full`, `freeze`, `lora` or `qlora`.
        bits: Of a weight of the base model.
        billions: Parameters of the model, as its name has them.
        gigabytes: The figure; `what` says where the source has it as a bound.
        what: What it is of, in the words of this project.
        source: Where it stands.
        date: When it was published.
    """

    method: str
    bits: int
    billions: float
    gigabytes: float
    what: str
    source: str
    date: str


def _llama_factory() -> tuple[Published, ...]:
    """The table "Hardware Requirement" (estimated, says its heading), on one or several GPUs together."""
    sizes = (7, 14, 30, 70)
    table = {
        ("full", 32, "bfloat16 or float16 with weights in float32"): (120, 240, 600, 1200),
        ("full", 16, "all in bfloat16"): (60, 120, 300, 600),
        ("freeze", 16, "freeze, GaLore, APOLLO and BAdam share the row of LoRA"): (16, 32, 64, 160),
        ("lora", 16, "LoRA"): (16, 32, 64, 160),
        ("qlora", 8, "QLoRA"): (10, 20, 40, 80),
        ("qlora", 4, "QLoRA"): (6, 12, 24, 48),
        ("qlora", 2, "QLoRA"): (4, 8, 16, 24),
    }
    return tuple(
        Published(method, bits, size, gigabytes, f"whole training, estimated: {what}", LLAMA_FACTORY, "2025-03")
        for (method, bits, what), row in table.items()
        for size, gigabytes in zip(sizes, row, strict=True)
    )


PUBLISHED = (
    *_llama_factory(),
    # QLoRA, abstract and sections 2 to 4: LLaMA on FLAN v2, one sequence at a time, adapters of 0.2 % of the weights.
    Published("full", 16, 65, 780, "whole training, at least", QLORA, "2023-05"),
    Published("qlora", 4, 65, 48, "whole training, at most", QLORA, "2023-05"),
    Published("qlora", 4, 33, 24, "whole training, at most", QLORA, "2023-05"),
    Published("qlora", 4, 7, 5.048, "weights of the base model", QLORA, "2023-05"),
    Published("qlora", 4, 7, 0.026, "weights of the adapters", QLORA, "2023-05"),
    Published("qlora", 4, 7, 0.567, "gradients of the adapters' inputs", QLORA, "2023-05"),
    Published("qlora", 4, 7, 0.018, "the same with checkpointing, per sequence", QLORA, "2023-05"),
    # Table 1: the tuned models with their weights in four bits.
    Published("qlora", 4, 7, 6, "weights of the tuned model", QLORA, "2023-05"),
    Published("qlora", 4, 13, 10, "weights of the tuned model", QLORA, "2023-05"),
    Published("qlora", 4, 33, 21, "weights of the tuned model", QLORA, "2023-05"),
    Published("qlora", 4, 65, 41, "weights of the tuned model", QLORA, "2023-05"),
    # LoRA, section 4.2: GPT-3 with Adam; the adapters of queries and values with r = 4.
    Published("full", 16, 175, 1200, "whole training", LORA, "2021-06"),
    Published("lora", 16, 175, 350, "whole training", LORA, "2021-06"),
    Published("full", 16, 175, 350, "checkpoint", LORA, "2021-06"),
    Published("lora", 16, 175, 0.035, "checkpoint", LORA, "2021-06"),
)


if __name__ == "__main__":
    for row in PUBLISHED:
        print(f"{row.method:6} {row.bits:2} bits {row.billions:4g}B {row.gigabytes:8g} GB  {row.what} ({row.source})")
