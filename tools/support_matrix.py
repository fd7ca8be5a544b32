"""Writes the table of families in docs/support.md from the report of a test run, so that it says what ran.

python -m pytest tests/families --junitxml=families.xml
python -m tools.support_matrix families.xml
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "support.md"
BEGIN, END = "<!-- families: made by tools.support_matrix -->", "<!-- families end -->"
COLUMNS = {
    "attention": "rows run in a",
    "full": "full",
    "lora": "LoRA, merged",
    "bitfit": "BitFit",
    "adapter": "adapters",
    "nf4": "LoRA on nf4",
    "answers": "answers",
}


def results(report: Path) -> dict[str, dict[str, str]]:
    """What the tests found, by family and feature; a test that told nothing failed.

    Args:
        report: JUnit XML of a run of tests/families.
    """
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        if not case.attrib.get("classname", "").endswith("test_families"):
            continue  # the report of a run of more than these
        test, _, family = case.attrib["name"].removesuffix("]").partition("[")
        feature, told = test.removeprefix("test_"), "**fails**"
        for one in case.iter("property"):
            if one.attrib["name"] == "support":
                family, feature, told = one.attrib["value"].split("|")
        found.setdefault(family, {})[feature] = told
    for features in found.values():  # the test of attention trains all weights
        features["full"] = "yes" if features.get("attention", "**fails**") != "**fails**" else "**fails**"
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    """The results as a table in Markdown."""
    lines = [f"| family | {' | '.join(COLUMNS.values())} |", f"| --- |{' --- |' * len(COLUMNS)}"]
    lines += [f"| {family} | {' | '.join(told.get(name, '') for name in COLUMNS)} |" for family, told in found.items()]
    return "\n".join(lines)


def main(report: str) -> None:
    """Put the table of a report into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(results(Path(report)))}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
