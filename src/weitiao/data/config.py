"""The recipe section `data`: which files, what their columns mean, and how they are split.

Imports nothing heavier than pydantic, because `--help` and the validation of a recipe go through here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from weitiao.config import Config
from weitiao.data.clean_config import CleanConfig


def _compiles(text: str) -> str:
    from weitiao.data.formats.templates import RowTemplate

    RowTemplate(text)
    return text


TemplateText = Annotated[str, AfterValidator(_compiles)]
"""A Jinja template over the columns of a row."""

CanonicalField = Literal[
    "instruction",
    "input",
    "output",
    "system",
    "history",
    "messages",
    "conversations",
    "tools",
    "prompt",
    "completion",
    "text",
    "chosen",
    "rejected",
    "label",
    "completions",
    "labels",
]
"""What a column can mean. A column with one of these names needs no entry in `columns`."""

FormatName = Literal["alpaca", "messages", "sharegpt", "prompt_completion", "text"]


class SourceConfig(Config):
    """One source of rows: a file, a directory of files, or a data set of the hub."""

    path: str = Field(min_length=1)
    """A file (.json, .jsonl, .csv, .tsv, .parquet, .txt, or one of these packed as .gz, .bz2, .xz or .zst), a directory
    of such files, or a hub id such as `owner/name`. A relative path is looked up in the recipe's folder, then in the
    current one."""

    format: Literal["auto", "alpaca", "messages", "sharegpt", "prompt_completion", "text"] = "auto"
    """What the columns of a row mean together; `auto` finds out from the first rows and says what it found."""

    columns: dict[CanonicalField, str] = Field(default_factory=dict)
    """Names of columns that differ from the format's own, as `field: column`. A dotted name reaches into a nested
    value: `instances.0.input`."""

    roles: dict[str, Literal["system", "user", "assistant", "tool"]] = Field(default_factory=dict)
    """Who speaks under names that are not known, as `name: role`: `{customer: user, agent: assistant}`. Upper and lower
    case are the same."""

    prompt: TemplateText | None = None
    """A Jinja template over the row's columns that makes the user turn: `Classify: {{ text }}`."""

    system: TemplateText | None = None
    """A Jinja template over the row's columns that makes the system turn, for rows that bring none."""

    completion: TemplateText | None = None
    """A Jinja template over the row's columns that makes the answer: `{{ category }}`."""

    subset: str | None = None
    """The subset (configuration) of a hub data set."""

    split: str | None = None
    """The split of a hub data set (default `train`). In a directory: only files whose names begin with it."""

    limit: int | None = Field(default=None, ge=1)
    """Read the first so many rows only."""

    sample: int | None = Field(default=None, ge=1)
    """Use so many usable rows, chosen by `data.seed`; all of them when there are fewer."""

    weight: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    """How often the training rows of this source are repeated: 2.0 is twice, 0.5 a half chosen by `data.seed`."""

    @field_validator("path", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @model_validator(mode="after")
    def _settings_agree(self) -> SourceConfig:
        for name in ("prompt", "completion"):
            if getattr(self, name) is None:
                continue
            if self.format not in ("auto", "prompt_completion"):
                raise ValueError(f"`{name}` makes a turn itself, so `format` must be auto or prompt_completion")
            if name in self.columns:
                raise ValueError(f"`{name}` is given twice, as a template and in `columns`; keep one")
        if self.system is not None and "system" in self.columns:
            raise ValueError("`system` is given twice, as a template and in `columns`; keep one")
        if self.system is not None and self.format == "text":
            raise ValueError("raw text has no system turn: remove `system`, or choose another `format`")
        return self


class ReplayConfig(SourceConfig):
    """General rows that are mixed into the training rows against forgetting."""

    share: float = Field(gt=0, lt=1, allow_inf_nan=False)
    """The share of the training rows that are general rows, and of the loss that is theirs, however long their answers
    are: with 0.05, one training row in twenty, and a twentieth of the loss."""

    @model_validator(mode="after")
    def _share_stands_alone(self) -> ReplayConfig:
        if self.weight != 1:
            raise ValueError("`share` says how many rows there are: remove `weight`")
        return self


def _names_its_rows(value: Any) -> Any:
    """Refuses a mere number, or a mere path: no general rows come with the program, and nothing is downloaded."""
    if value is None or isinstance(value, (dict, ReplayConfig)):
        return value
    share = value if isinstance(value, float) else 0.05
    raise ValueError(f"needs a share and general rows of yours: {{share: {share}, path: general.jsonl}}")


def _as_sources(value: Any) -> list[Any]:
    """A path, a source or a list of both, as a list of sources."""
    if isinstance(value, (str, Path, dict, SourceConfig)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a path, a source (path, format, columns, ...) or a list of them")
    if not value:
        raise ValueError("names no source; give at least one path")
    return [{"path": item} if isinstance(item, (str, Path)) else item for item in value]


Sources = Annotated[
    tuple[SourceConfig, ...],
    BeforeValidator(_as_sources, json_schema_input_type=str | SourceConfig | list[str | SourceConfig]),
]


_MEANING = ("format", "columns", "roles", "prompt", "system", "completion")


def _read_like(part: Any, meaning: dict[str, Any]) -> Any:
    if isinstance(part, (list, tuple)):
        return [_read_like(item, meaning) for item in part]
    return {"path": part, **meaning} if isinstance(part, (str, Path)) else part


def _kind_of_part(value: Any) -> str:
    return "fraction" if isinstance(value, (int, float)) and not isinstance(value, bool) else "sources"


Part = Annotated[
    Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), Tag("fraction")] | Annotated[Sources, Tag("sources")],
    Discriminator(_kind_of_part),
]


class DataConfig(Config):
    """Which rows are trained on, and which are held out."""

    train: Sources
    """A path, a source, or a list of them."""

    validation: Part | None = None
    """Rows that are held out to choose the best checkpoint: a fraction of the training rows, or sources of its own.
    A source given as a mere path has the format, columns and templates of the training source, if that is one."""

    test: Part | None = None
    """Rows that are held out for the final score, given like `validation`."""

    replay: Annotated[ReplayConfig | None, BeforeValidator(_names_its_rows)] = None
    """General rows against forgetting: a source, and the `share` that it has of all training rows and of the loss.
    They are chosen by `seed`, come on top of the training rows, and are never held out or scored."""

    keep_together: Literal["near", "same"] = "near"
    """Which rows a fraction never parts: `near` those whose inputs are the same or almost the same, `same` only those
    with the same input. Case, punctuation, white space and the system turn do not count."""

    clean: CleanConfig = CleanConfig()
    """What `weitiao data clean` mends in the training rows and which of them it drops. Training reads the files as they
    are."""

    seed: int = Field(default=0, ge=0)
    """Decides which rows a fraction, a `sample`, a fractional `weight` or `replay` takes."""

    on_bad_rows: Literal["error", "skip"] = "error"
    """`error` stops and names the bad rows; `skip` leaves them out, counts them and lists them in `rejected.jsonl`."""

    @model_validator(mode="before")
    @classmethod
    def _bare_paths_are_read_like_train(cls, values: Any) -> Any:
        """Copies what the columns mean from a single training source to held-out files given as mere paths."""
        train = values.get("train") if isinstance(values, dict) else None
        if isinstance(train, (list, tuple)) and len(train) == 1:
            train = train[0]
        if isinstance(train, SourceConfig):
            train = train.model_dump(exclude_unset=True)
        if not isinstance(train, dict):
            return values
        meaning = {key: train[key] for key in _MEANING if key in train}
        held_out = {part: _read_like(values[part], meaning) for part in ("validation", "test") if part in values}
        return {**values, **held_out}

    @model_validator(mode="after")
    def _parts_agree(self) -> DataConfig:
        if sum(self.fractions.values()) >= 1:
            raise ValueError("`validation` and `test` together must leave rows to train on: their sum must be below 1")
        for part, sources in self.sources.items():
            if part in ("validation", "test") and any(source.weight != 1 for source in sources):
                raise ValueError(
                    f"`{part}` rows are scored once each: remove `weight`; `sample` or `limit` takes a part of a source"
                )
        return self

    @property
    def sources(self) -> dict[str, tuple[SourceConfig, ...]]:
        """The sources of each part that has its own, in the order in which they are read; those of `replay` last."""
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        of_parts = {part: value for part, value in given.items() if isinstance(value, tuple)}
        return of_parts if self.replay is None else {**of_parts, "replay": (self.replay,)}

    @property
    def fractions(self) -> dict[str, float]:
        """The share of the training rows that a part holds out, for `test` and then `validation`, where it is one."""
        given = {"test": self.test, "validation": self.validation}
        return {part: value for part, value in given.items() if isinstance(value, float)}
