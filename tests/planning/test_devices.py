"""The catalogue of devices."""

from __future__ import annotations

import pytest

from weitiao.errors import RecipeError
from weitiao.planning.devices import device_names, find_device


def test_a_device_has_the_numbers_of_its_data_sheet() -> None:
    device = find_device("RTX 4090")
    assert device == find_device("rtx-4090") == find_device("NVIDIA GeForce RTX 4090")
    assert (device.memory_bytes, device.bytes_per_second, device.watts) == (24 * 2**30, 1.008e12, 450)
    assert device.flops == pytest.approx({"float32": 82.6e12, "bfloat16": 165.2e12, "float16": 165.2e12})


@pytest.mark.parametrize("name", device_names())
def test_every_device_is_possible(name: str) -> None:
    device = find_device(name)
    assert device.key == name
    assert all(find_device(other) == device for other in (device.title, *device.names))
    assert device.flops["float32"] <= device.flops["float16"]
    # A slip by a thousand, or of bits for bytes, would leave these bounds.
    assert 20 < device.flops["float16"] / device.bytes_per_second < 600
    assert 0.01 < device.memory_bytes / device.bytes_per_second < 0.1  # seconds to read all of it once
    assert 0.05e12 < device.flops["float16"] / device.watts < 3e12
    assert device.source.startswith("https://")


def test_an_unknown_device_is_an_error_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no 'rtx-4091'\.\nDid you mean rtx-4090"):
        find_device("rtx-4091")


def test_formats_without_units_are_not_there() -> None:
    assert set(find_device("t4").flops) == set(find_device("v100-32gb").flops) == {"float32", "float16"}
    assert "bfloat16" in find_device("a10").flops
