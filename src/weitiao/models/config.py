"""The `model` section of a recipe: which base model, in which number format."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from weitiao.config import Config
from weitiao.models.quantization import Quantization

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
AttentionName = Literal["auto", "blocks", "dense", "flex", "flash", "alone"]


def _name_or_section(schema: dict[str, Any]) -> None:
    """Let editors accept `model: NAME` as well."""
    section = {key: schema.pop(key) for key in tuple(schema) if key not in ("title", "description")}
    schema["anyOf"] = [{"type": "string", "minLength": 1}, section]


class ModelConfig(Config):
    """Which base model to load and how. `model: NAME` in a recipe is short for `model: {name: NAME}`."""

    model_config = ConfigDict(json_schema_extra=_name_or_section)

    name: str = Field(min_length=1)
    """A catalogue name (`smollm2-135m`), a local Hugging Face directory, a local `.gguf` file, or a hub id;
    `modelscope:owner/name` is one of ModelScope (extra `modelscope`)."""

    dtype: DtypeName = "auto"
    """Number format of the weights. `auto` is bfloat16 on GPUs that compute in it, float32 elsewhere."""

    quantization: Quantization | None = None
    """Round the frozen linear layers while they are loaded, by bitsandbytes: to four bits, a quarter of the memory of
    bfloat16, with `nf4` (QLoRA) or `fp4`; to eight with `int8`, which rounds inputs too. What learns are adapters."""

    attention: AttentionName = "auto"
    """By what a training and its validations compute attention; the results are the same up to rounding. `auto` is the
    fastest that can: `blocks` on a CPU (`dense` where a window hides something), on CUDA `flash` where rows share no
    beginning and `flex` elsewhere; and `alone`, one row after another by the model's own forward, for models that give
    other losses in a forest of rows. A named one that cannot is refused. Answers are always computed as with `auto`."""

    map_weights: bool = False
    """Leave weights that do not learn in their files, from where the operating system reads them as they are needed:
    the model may then be larger than the memory. On a GPU these are the matrices of the decoder layers; they come to it
    layer by layer, and `train.checkpointing` is on. Files in another format than `dtype` are written in it once, into
    the cache directory."""

    trust_remote_code: bool = False
    """Whether Python code that comes with the model may run. Say yes only to authors that you trust."""

    allow_pickle: bool = False
    """Whether weights in `.bin` files may be read where a model has no safetensors. Such files are pickles; tensors
    alone are taken from them, once, and kept as safetensors in the cache directory."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    def rounded(self, dtype: str) -> str:
        """The name of a number format with how the weights are rounded: what decides the answers beside the weights."""
        return dtype if self.quantization is None else f"{dtype} {self.quantization}"

    def moved_to(self, name: str) -> ModelConfig:
        """The same model under another name: where it is now."""
        return self.model_copy(update={"name": name, "revision": None})

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agree(self) -> ModelConfig:
        if self.map_weights and self.quantization is not None:
            raise ValueError("map_weights: weights that are rounded while they are loaded cannot stay in their files")
        return self
