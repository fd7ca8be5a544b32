"""What the data sheets of the usual GPUs say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from weitiao.errors import RecipeError
from weitiao.planning.names import did_you_mean, folded, spellings


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
    return tuple(_catalogue())


def find_device(name: str) -> Device:
    """A device of the catalogue.

    Args:
        name: Its key, its title, or what PyTorch calls it (`Tesla T4`); case, dots, dashes, underscores and blanks do
            not count.

    Raises:
        RecipeError: There is no such device.
    """
    known = spellings({key: (device.title, *device.names) for key, device in _catalogue().items()})
    if folded(name) not in known:
        raise RecipeError(f"The catalogue of devices has no {name!r}.", did_you_mean(name, known))
    return _catalogue()[known[folded(name)]]


@cache
def _catalogue() -> dict[str, Device]:
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
