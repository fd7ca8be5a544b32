"""What an hour of a device, or the electricity for it, costs: a table that a person edits."""

from __future__ import annotations

from datetime import date
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_config_path
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from weitiao.config import Config
from weitiao.errors import RecipeError
from weitiao.planning.devices import find_device
from weitiao.yaml_text import parse_yaml, read_yaml

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
