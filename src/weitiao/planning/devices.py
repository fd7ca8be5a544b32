"""The shapes of the usual models and the data sheets of the usual GPUs, found by the names that people type."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from platformdirs import user_config_path
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from weitiao.config import Config
from weitiao.errors import ModelError, RecipeError
from weitiao.yaml_text import parse_yaml, read_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its maker describes it; nothing of it was measured here.

    Attributes:
        key: Its name in the catalogue.
        title: Its name.
        names: What else it goes by.
        memory_bytes: Its memory. What data sheets call GB is GiB, but for a percent or two that the driver keeps; GDDR
            memory of devices for servers has a sixteenth less, because their error correction is on.
        bytes_per_second: Bandwidth of that memory.
        flops: Floating-point operations per second in dense matrix products with sums in float32, by the name of the
            number format. `float32` is without TF32, as PyTorch multiplies unless told otherwise. A format that the
            device has no units for is not there.
        watts: Power that it may draw at most.
        source: Where these numbers stand.
    """

    key: str
    title: str
    names: tuple[str, ...]
    memory_bytes: int
    bytes_per_second: float
    flops: Mapping[str, float]
    watts: float
    source: str


def device_names() -> tuple[str, ...]:
    """The names of all devices of the catalogue."""
    return tuple(_sheets())


def find_device(name: str) -> Device:
    """A device of the catalogue.

    Args:
        name: Its key, its title, or what PyTorch calls it (`Tesla T4`); case, dots, dashes, underscores and blanks do
            not count.

    Raises:
        RecipeError: There is no such device.
    """
    known = spellings({key: (device.title, *device.names) for key, device in _sheets().items()})
    if folded(name) not in known:
        raise RecipeError(f"The catalogue of devices has no {name!r}.", did_you_mean(name, known))
    return _sheets()[known[folded(name)]]


@cache
def _sheets() -> dict[str, Device]:
    """All devices by their keys. The file has GiB, GB/s and TFLOP/s, as data sheets have."""
    text = (resources.files("weitiao.planning") / "devices.json").read_text(encoding="utf-8")
    return {
        key: Device(
            key=key,
            title=entry["title"],
            names=tuple(entry["names"]),
            memory_bytes=int(entry["memory_gib"] * 2**30),
            bytes_per_second=entry["gb_per_second"] * 1e9,
            flops={dtype: teraflops * 1e12 for dtype, teraflops in entry["tflops"].items()},
            watts=entry["watts"],
            source=entry["source"],
        )
        for key, entry in json.loads(text).items()
    }


def folded(name: str) -> str:
    """A name without what people write in different ways: case, and dots, dashes, underscores and blanks."""
    return re.sub(r"[-._\s]", "", name).lower()


def spellings(entries: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The key of every entry by its own folded name and by the others that it goes by."""
    return {folded(name): key for key, others in entries.items() for name in (key, *others)}


def did_you_mean(name: str, known: Mapping[str, str]) -> str:
    """What to do about a name that no entry has.

    Args:
        name: The name.
        known: As `spellings` gives it.

    Returns:
        One line: the keys that go by the most similar names, or all.
    """
    near = dict.fromkeys(known[one] for one in difflib.get_close_matches(folded(name), known, n=3))
    return f"Did you mean {' or '.join(near)}?" if near else f"Known are: {', '.join(dict.fromkeys(known.values()))}."


def architecture_names() -> tuple[str, ...]:
    """The names of all models of the catalogue, sorted."""
    return tuple(_shapes())


def find_architecture(name: str) -> PreTrainedConfig:
    """The configuration of a model of the catalogue.

    Args:
        name: A name of the catalogue or a hub id; owner, case, dots, dashes and underscores do not count. A checkpoint
            with the shapes of another (`mistralai/Mistral-7B-Instruct-v0.1`) is found as well.

    Returns:
        The configuration, made anew for the caller.

    Raises:
        ModelError: There is no such model in the catalogue.
    """
    wanted = name.rsplit("/", 1)[-1]
    known = spellings({key: values["weitiao"]["names"] for key, values in _shapes().items()})
    if folded(wanted) not in known:
        raise ModelError(f"The catalogue of models has no {name!r}.", did_you_mean(wanted, known))
    from transformers import AutoConfig  # it takes seconds

    values = _shapes()[known[folded(wanted)]]
    return AutoConfig.for_model(**{field: value for field, value in values.items() if field != "weitiao"})


@cache
def _shapes() -> dict[str, dict[str, Any]]:
    """The content of all files by their names without `.json`."""
    folder = resources.files("weitiao.planning") / "architectures"
    found = {file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8")) for file in folder.iterdir()}
    return dict(sorted(found.items()))


_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Price(Config):
    """One row of the table: an hour of a rented device, or a kilowatt-hour for one's own."""

    provider: str
    """Who is paid."""

    device: str | None = None
    """A device of the catalogue; not given where the price is for any: that of electricity, of the machine at hand."""

    per_hour: _Amount | None = None
    """Price of one hour."""

    per_kwh: _Amount | None = None
    """Price of one kilowatt-hour."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    """ISO 4217: `CNY`, `EUR`, `USD`."""

    date: date
    """When it was so."""

    source: str
    """Where it stands."""

    @field_validator("device")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        """The device by its key, however the row has it."""
        try:
            return None if name is None else find_device(name).key
        except RecipeError as error:
            raise ValueError(f"{error.what} {error.remedy}".rstrip(".?")) from error

    @model_validator(mode="after")
    def _either(self) -> Price:
        if (self.per_hour is None) == (self.per_kwh is None):
            raise ValueError("a price is either per_hour or per_kwh")
        return self


_ROW = TypeAdapter(Price)


def own_prices() -> Path:
    """Where a person's own table is looked for: `prices.yaml` in this program's configuration directory."""
    return user_config_path("weitiao") / "prices.yaml"


def read_prices(path: Path | None = None) -> tuple[Price, ...]:
    """The rows of a table of prices.

    Args:
        path: The file; by default a person's own table, or where there is none the examples that are shipped.

    Raises:
        RecipeError: It cannot be read, or a row of it is not a price; the message names file and row.
    """
    if path is None and own_prices().is_file():
        path = own_prices()
    if path is None:
        text = (resources.files("weitiao.planning") / "prices.yaml").read_text(encoding="utf-8")
        return _rows(parse_yaml(text, "prices.yaml"), "prices.yaml")
    return _rows(read_yaml(path), str(path))


def cost(seconds: float, price: Price, watts: float) -> float:
    """What a training costs, in the currency of the price.

    Args:
        seconds: How long it takes.
        price: A row of the table.
        watts: Power that is drawn meanwhile; it counts where the price is that of electricity.
    """
    hours = seconds / 3600
    return hours * price.per_hour if price.per_hour is not None else hours * watts / 1000 * (price.per_kwh or 0)


def _rows(values: Any, where: str) -> tuple[Price, ...]:
    remedy = "A row has provider, per_hour or per_kwh, currency, date, source, and device unless it holds for any."
    if not isinstance(values, list):
        raise RecipeError(f"{where} is no list of prices.", remedy)
    rows = []
    for number, row in enumerate(values, start=1):
        try:
            rows.append(_ROW.validate_python(row))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = "".join(f"{part}: " for part in first["loc"])
            problem = first["msg"].removeprefix("Value error, ")
            raise RecipeError(f"{where}, row {number}: {field}{problem}.", remedy) from error
    return tuple(rows)
