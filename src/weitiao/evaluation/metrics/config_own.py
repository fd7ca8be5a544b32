"""Settings of the metrics by overlap, by a function of the user's and by a judge model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from weitiao.evaluation.metrics.config_base import MetricConfigBase, Setting, found

if TYPE_CHECKING:
    from weitiao.evaluation.metrics.base import Metric

FUNCTION = re.compile(r"(?P<path>.+\.py):(?P<function>[A-Za-z_]\w*)")


class RougeLConfig(MetricConfigBase):
    """ROUGE-L: F1 of the longest common subsequence of words; Chinese characters are words of their own."""

    type: Literal["rouge_l"] = "rouge_l"
    """The metric."""

    packages: ClassVar[tuple[str, ...]] = ("rouge-score",)

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.overlap import RougeL

        return RougeL(self.title)


class BleuConfig(MetricConfigBase):
    """BLEU of the whole set by sacrebleu; its grades are those of the sentences."""

    type: Literal["bleu"] = "bleu"
    """The metric."""

    tokenize: Literal["auto", "13a", "zh", "intl", "char", "none"] = "auto"
    """The tokenizer of sacrebleu. `auto`: `zh` for references with Chinese characters, `char` for those with kana, else
    `13a`."""

    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.overlap import Bleu

        return Bleu(self.title, tokenize=self.tokenize)


class ChrfConfig(MetricConfigBase):
    """chrF of the whole set by sacrebleu; its grades are those of the sentences."""

    type: Literal["chrf"] = "chrf"
    """The metric."""

    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.overlap import Chrf

        return Chrf(self.title)


class FunctionConfig(MetricConfigBase):
    """A Python function `(answer, expected, row)` that returns a number from 0 to 1, or whether the answer is right."""

    type: Literal["function"] = "function"
    """The metric."""

    path: str
    """File and function: `my.py:score`. A relative path is looked up in the recipe's folder, then in the current
    one."""

    @field_validator("path")
    @classmethod
    def _names_both(cls, value: str) -> str:
        if FUNCTION.fullmatch(value) is None:
            raise ValueError("write it as FILE.py:FUNCTION")
        return value

    @property
    def title(self) -> str:
        """What the score is called."""
        return self.name or self._parts()[1]

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content its grades depend on."""
        return (self._parts()[0],)

    def located(self, folders: Sequence[Path]) -> FunctionConfig:
        path, function = self._parts()
        return self.model_copy(update={"path": f"{found(path, folders)}:{function}"})

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.function import UserFunction

        return UserFunction(self.title, *self._parts())

    def _parts(self) -> tuple[Path, str]:
        parts = FUNCTION.fullmatch(self.path)
        assert parts is not None
        return Path(parts["path"]), parts["function"]


class JudgeMetricConfig(MetricConfigBase):
    """A model that rates each answer from 1 to 5, mapped to 0 to 1."""

    type: Literal["judge"]
    """The metric."""

    model: str = Field(min_length=1)
    """A model, run or adapter on this machine, or an OpenAI-compatible server as `URL#MODEL`:
    `http://127.0.0.1:8000/v1#qwen3-8b`."""

    prompt: str | None = None
    """A Jinja template over `question`, `expected`, `answer` and the row's columns, which asks for a rating from 1 to
    5. The last number after `Score:`, or else the last number from 1 to 5, is taken."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Tokens that the judge may write."""

    api_key_file: Path | None = None
    """A file with the key of the server. Without it no key is sent."""

    @field_validator("prompt")
    @classmethod
    def _template_compiles(cls, value: str | None) -> str | None:
        if value is not None:
            from weitiao.data.formats.templates import RowTemplate

            RowTemplate(value)
        return value

    def located(self, folders: Sequence[Path]) -> JudgeMetricConfig:
        update: dict[str, object] = {}
        if "://" not in self.model:
            update["model"] = str(found(Path(self.model), folders))
        if self.api_key_file is not None:
            update["api_key_file"] = found(self.api_key_file, folders)
        return self.model_copy(update=update)

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.judge import PROMPT, Judge

        return Judge(
            self.title,
            model=self.model,
            prompt=self.prompt or PROMPT,
            max_new_tokens=self.max_new_tokens,
            api_key_file=self.api_key_file,
        )
