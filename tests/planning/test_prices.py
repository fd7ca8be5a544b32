"""The table of prices: what is shipped, one's own, and what is wrong with a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from weitiao.errors import RecipeError
from weitiao.planning.devices import cost, own_prices, read_prices

ROW = "- {provider: me, device: rtx-4090, per_hour: 0.5, currency: USD, date: 2026-01-02, source: a bill}\n"
KWH = "- {provider: me, per_kwh: 0.3, currency: EUR, date: 2026-01-02, source: a bill}\n"


@pytest.fixture
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_the_examples_are_read_where_there_is_no_table_of_ones_own(config_home: Path) -> None:
    rows = read_prices(None)
    assert {"local", "AutoDL", "Jarvislabs"} <= {row.provider for row in rows}
    assert {row.currency for row in rows if row.provider == "AutoDL"} == {"CNY"}


def test_a_device_is_named_as_one_writes_it_or_left_out_where_the_price_is_for_any(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(ROW.replace("rtx-4090", "RTX 4090") + ROW.replace("device: rtx-4090, ", ""))
    assert [row.device for row in read_prices(path)] == ["rtx-4090", None]


def test_a_table_of_ones_own_is_read_instead_and_a_named_one_before_it(config_home: Path) -> None:
    own_prices().parent.mkdir(parents=True)
    own_prices().write_text(ROW)
    assert [row.per_hour for row in read_prices(None)] == [0.5]
    named = config_home / "named.yaml"
    named.write_text(ROW + KWH)
    assert [row.per_kwh for row in read_prices(named)] == [None, 0.3]


def test_what_a_training_costs(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(ROW + KWH)
    rented, electricity = read_prices(tmp_path / "prices.yaml")
    assert cost(7200, rented, watts=450) == pytest.approx(1.0)
    assert cost(7200, electricity, watts=450) == pytest.approx(2 * 0.45 * 0.3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ROW + ROW.replace("0.5", "cheap"), r"row 2: per_hour: "),
        (ROW + ROW.replace("USD", "dollars"), r"row 2: currency: "),
        (ROW.replace("2026-01-02", "yesterday"), r"row 1: date: "),
        (ROW.replace("currency: USD, ", ""), r"row 1: currency: Field required"),
        (ROW.replace("per_hour", "per_day"), r"row 1: "),
        (ROW.replace("4090", "4091"), r"row 1: device: .* no 'rtx-4091'. Did you mean rtx-4090"),
        (KWH.replace("per_kwh: 0.3, ", ""), r"row 1: a price is either per_hour or per_kwh"),
        (ROW.replace("0.5", "-1"), r"row 1: per_hour: "),
        ("provider: me\n", r"is no list of prices"),
    ],
)
def test_a_row_that_is_no_price_is_named_with_its_file(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=f"prices.yaml.*{problem}"):
        read_prices(path)


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="absent"):
        read_prices(tmp_path / "absent.yaml")
