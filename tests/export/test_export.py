"""Exports are the tuned model, in the engine that serves them; what is not is refused, and nothing half is left."""

from __future__ import annotations

import resource
import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from export.conftest import END, make_run, table_of
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import weitiao

from weitiao.errors import ModelError, RecipeError
from weitiao.evaluation.paired import paired_difference
from weitiao.export.llama_engine import LlamaEngine, quantize
from weitiao.export.make import NOTE, size_of
from weitiao.export.registry import parse_format
from weitiao.export.source import Source
from weitiao.files import check_whole, sha256
from weitiao.recipe import load_recipe
from weitiao.study.export import Asked, export_run
from weitiao.verdict.exported import Exported, judge, read_exports, smallest_good

pytestmark = pytest.mark.usefixtures("at_once")
TEXTS = ("Order #40917: 12 boxes,\n\n3.50 each. 请用一句话解释 🙂", "def f(x):\n    return x  # naïve")


def plain_tuned(run: Path, base: Path) -> torch.nn.Module:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "final").eval()


@pytest.fixture(scope="module")
def exported(smol_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("exports")
    formats = "gguf-f32,gguf-f16,gguf-q2_k,ollama-q4_k_m,merged,nf4"
    done = weitiao("export", smol_run, "--to", formats, "--output", output, "--json")
    assert done.returncode in (0, 4), done.stderr
    return output, table_of(done)


def test_every_export_is_kept_whole_and_measured(exported: tuple[Path, dict], smol_run: Path) -> None:
    output, table = exported
    assert sorted(path.name for path in output.iterdir()) == sorted(table)
    for name, one in table.items():
        check_whole(output / name)
        assert one["outcome"] in ("good", "undecided")
        assert one["size_bytes"] == size_of(output / name) > 0
        assert one["agreement"]["other_ids"] == 0
        assert one["tokens_per_second"] > 0 and one["memory_bytes"] > 0
        assert one["quality"]["difference"]["n"] == 6
    off = [table[name]["agreement"]["mean_difference"] for name in ("merged", "gguf-f32", "gguf-f16", "nf4")]
    assert off[0] < 1e-4 and off[1] < 2e-3 and off[2] < 4e-3 < off[3]
    sizes = [table[name]["size_bytes"] for name in ("ollama-q4_k_m", "gguf-f16", "gguf-f32")]
    assert sizes[0] < 0.7 * sizes[1] < 0.5 * sizes[2]
    kept = read_exports(smol_run)
    assert [one.format for one in kept.models] == list(table)
    assert kept.tuned.path == smol_run / "final"


def test_llama_cpp_gets_the_log_probabilities_and_answers_of_plain_transformers(
    exported: tuple[Path, dict], smol_run: Path, smol_llama_dir: Path
) -> None:
    engine = LlamaEngine(exported[0] / "gguf-f32" / "model-f32.gguf", 1)
    tokenizer, model = AutoTokenizer.from_pretrained(smol_run / "final"), plain_tuned(smol_run, smol_llama_dir)
    for text in TEXTS:
        ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert engine.tokens(text) == ids
        tensor = torch.tensor([ids])
        with torch.no_grad():
            expected_TV = model(tensor).logits[0].double().log_softmax(-1)
        places = tuple(range(1, len(ids)))
        expected = expected_TV[:-1].gather(1, tensor[0, 1:, None])[:, 0]
        np.testing.assert_allclose(engine.logprobs(((ids, places),))[0], expected, atol=0.02)
    ends = frozenset({tokenizer.convert_tokens_to_ids(END), tokenizer.eos_token_id})
    prompts = tuple(
        tuple(tokenizer.apply_chat_template([{"role": "user", "content": f"{n} {TEXTS[n % 2]}"}], tokenize=True,
                                            add_generation_prompt=True, return_dict=False))
        for n in range(11)
    )  # fmt: skip
    answers = engine.answers(prompts, ends, 12)
    for prompt, (answer, stopped) in zip(prompts, answers, strict=True):
        with torch.no_grad():
            logits_TV = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 :]
        best_T, next_T = (
            logits_TV.max(-1).values,
            logits_TV.gather(1, torch.tensor([[*answer, tokenizer.eos_token_id]]).T)[:, 0],
        )
        assert (best_T - next_T)[: len(answer)].max() < 0.05  # the cache of llama.cpp is in float16
        assert stopped == (len(answer) < 12)
        assert not stopped or max(logits_TV[-1, list(ends)]) > best_T[-1] - 0.05


def test_the_file_has_the_weights_the_template_and_the_ends(exported: tuple[Path, dict], smol_run: Path) -> None:
    reader = gguf.GGUFReader(exported[0] / "gguf-f16" / "model-f16.gguf")
    tokenizer = AutoTokenizer.from_pretrained(smol_run / "final")
    assert reader.get_field("tokenizer.chat_template").contents() == tokenizer.chat_template
    assert reader.get_field("tokenizer.ggml.eos_token_id").contents() == tokenizer.eos_token_id
    ends = {tokenizer.convert_tokens_to_ids(END), tokenizer.eos_token_id}
    assert ends <= LlamaEngine(exported[0] / "gguf-f16" / "model-f16.gguf", 1).ends
    merged = AutoModelForCausalLM.from_pretrained(exported[0] / "merged").state_dict()
    tensors = {one.name: one for one in reader.tensors}
    down = tensors["blk.1.ffn_down.weight"].data.astype(np.float32)
    np.testing.assert_allclose(down, merged["model.layers.1.mlp.down_proj.weight"].numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("name", "counts"), [("gguf-q2_k", True), ("ollama-q4_k_m", False)])
def test_two_bits_are_rounded_by_what_counts_on_the_rows_of_the_training(
    exported: tuple[Path, dict], tmp_path: Path, name: str, counts: bool
) -> None:
    kind = name.partition("-")[2]
    number = gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"].value
    quantize(exported[0] / "gguf-f32" / "model-f32.gguf", tmp_path / "plain.gguf", number, 1)
    files = (tmp_path / "plain.gguf", exported[0] / name / f"model-{kind}.gguf")
    before, after = ({one.name: one for one in gguf.GGUFReader(file).tensors} for file in files)
    changed = {name for name, one in before.items() if not np.array_equal(one.data, after[name].data)}
    assert all(before[name].tensor_type == after[name].tensor_type for name in before)
    assert ({"blk.0.attn_q.weight", "blk.1.ffn_down.weight"} <= changed) if counts else not changed
    assert not changed & {"token_embd.weight", "output_norm.weight"}


def test_the_merged_directory_answers_as_the_adapter_does(
    exported: tuple[Path, dict], smol_run: Path, smol_llama_dir: Path
) -> None:
    ids = torch.tensor([list(range(40, 60))])
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(exported[0] / "merged")(ids).logits
        torch.testing.assert_close(found, plain_tuned(smol_run, smol_llama_dir)(ids).logits, atol=1e-3, rtol=1e-3)


def test_the_same_export_is_not_made_again_and_another_is_not_overwritten(
    exported: tuple[Path, dict], smol_run: Path
) -> None:
    target = exported[0] / "gguf-f16"
    before = (target / "model-f16.gguf").stat().st_mtime_ns
    again = export_run(load_recipe(smol_run), Asked(("gguf-f16",), output=exported[0]), print)
    assert (target / "model-f16.gguf").stat().st_mtime_ns == before
    assert again.models[0].path == target
    note = (target / NOTE).read_text()
    (target / NOTE).write_text(note.replace(again.weights, "other"))
    done = weitiao("export", smol_run, "--to", "gguf-f16", "--output", exported[0])
    (target / NOTE).write_text(note)
    assert done.returncode == 2
    assert "is no export of these weights" in done.stderr
    assert (target / "model-f16.gguf").stat().st_mtime_ns == before


def test_the_card_tells_where_it_comes_from_and_how_it_is_loaded(exported: tuple[Path, dict], smol_run: Path) -> None:
    for name, words in {
        "ollama-q4_k_m": "ollama create",
        "nf4": "AutoModelForCausalLM",
        "merged": "vllm serve",
    }.items():
        text = (exported[0] / name / "README.md").read_text()
        assert words in text
        assert sha256(smol_run.parent / "rows.jsonl") in text and "| 40 |" in text
        assert "method: lora" in text and "log-probabilities" in text and "verdict" in text
        assert str(smol_run.parent) not in text
    modelfile = (exported[0] / "ollama-q4_k_m" / "Modelfile").read_text()
    assert f'PARAMETER stop "{END}"' in modelfile and "FROM ./model-q4_k_m.gguf" in modelfile


def test_the_smallest_good_one_alone_is_kept(
    exported: tuple[Path, dict], smol_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "gguf", lambda self: exported[0] / "gguf-f32" / "model-f32.gguf")
    output = tmp_path / "out"
    asked = Asked(("gguf-q8_0", "gguf-q4_k_m"), output, largest_loss=0.9, best_under=20_000_000)
    chosen = export_run(load_recipe(smol_run), asked, print)
    assert [(one.format, one.path) for one in chosen.models] == [("gguf-q4_k_m", output / "gguf-q4_k_m")]
    none = export_run(load_recipe(smol_run), replace(asked, output=tmp_path / "other", best_under=1_000_000), print)
    assert [(one.format, one.path) for one in none.models] == [("gguf-q4_k_m", None)]
    assert list((tmp_path / "other").iterdir()) == []


def test_an_adapter_on_its_base_model_is_the_tuned_model_but_for_an_end_that_the_base_has_not(
    smol_run: Path, tmp_path: Path
) -> None:
    (lora,) = export_run(load_recipe(smol_run), Asked(("gguf-lora",), tmp_path / "out"), print).models
    assert lora.agreement is not None
    assert (lora.agreement.other_ids, lora.agreement.same_template) == (0, True)
    assert 0 < lora.agreement.mean_difference < lora.agreement.allowed == 0.02
    assert lora.agreement.num_tokens > 200
    assert lora.quality is not None and lora.quality.difference.n == 6
    assert lora.reason == f"answers would not end at {END}"  # the file of the base model does not know it
    assert (lora.outcome, list((tmp_path / "out").iterdir())) == ("refused", [])


def test_a_file_with_its_heads_in_another_order_is_refused(
    exported: tuple[Path, dict], smol_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Path(shutil.copy(exported[0] / "gguf-f32" / "model-f32.gguf", tmp_path / "wrong.gguf"))
    queries = next(one for one in gguf.GGUFReader(wrong, "r+").tensors if one.name == "blk.0.attn_q.weight").data
    queries[:] = queries[::-1].copy()
    queries.flush()
    monkeypatch.setattr(Source, "gguf", lambda self: wrong)  # a converter with a fault
    exports = export_run(load_recipe(smol_run), Asked(("gguf-q8_0",), output=tmp_path / "out"), print)
    (refused,) = exports.models
    assert (refused.outcome, refused.path, exports.exit_code) == ("refused", None, 3)
    assert "log-probabilities differ" in refused.reason
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tokenizer_that_llama_cpp_does_not_know_is_named(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_llama_dir)
    done = weitiao("export", run, "--to", "gguf-q8_0")
    assert done.returncode == 2
    assert "llama.cpp does not know how this tokenizer cuts text" in done.stderr
    assert "Asking" not in done.stderr  # it is said before anything is computed
    assert list((run / "export").iterdir()) == []


def test_a_full_disk_leaves_nothing(smol_run: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (54_200_000, hard))  # a file cannot grow beyond it, as on a full disk
    try:
        with pytest.raises(ModelError, match="disk is full"):
            export_run(load_recipe(smol_run), Asked(("gguf-f16",), output=tmp_path / "out"), print)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_is_a_file_is_named(smol_run: Path) -> None:
    done = weitiao("export", smol_run, "--to", "merged", "--output", smol_run / "recipe.yaml")
    assert done.returncode == 2
    assert "The exports cannot be written to" in done.stderr


def test_an_unknown_format_is_answered_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match="no format `gguf`"):
        parse_format("gguf")
    with pytest.raises(RecipeError, match="optimum-onnx"):
        parse_format("onnx")
    with pytest.raises(RecipeError, match="no `q4_k_x`"):
        parse_format("gguf-q4_k_x")


def test_what_is_lost_is_judged_by_the_whole_interval() -> None:
    right = [1.0] * 200
    assert judge(paired_difference(right, right), None, 0.02)[0] == "good"
    assert judge(paired_difference(right[:50], right[:50]), None, 0.02)[0] == "undecided"
    assert judge(paired_difference(right, [0.0] * 30 + [1.0] * 170), None, 0.02)[0] == "worse"
    nats = [1.0, 1.1, 0.9, 1.05] * 10
    assert judge(None, paired_difference(nats, [one + 0.001 for one in nats], bounded=False), 0.02)[0] == "good"
    assert judge(None, paired_difference(nats, [one + 0.1 for one in nats], bounded=False), 0.02)[0] == "worse"
    assert judge(None, None, 0.02)[0] == "undecided"


def test_the_smallest_good_one_that_fits_is_chosen() -> None:
    def made(name: str, size: int, outcome: str) -> Exported:
        return Exported(name, Path(name), "", outcome, "", size_bytes=size)  # type: ignore[arg-type]

    models = [made("f16", 300, "good"), made("q8", 150, "good"), made("q4", 100, "worse"), made("q5", 120, "undecided")]
    assert smallest_good(models, 200) == models[1]
    assert smallest_good(models, 140) is None
