"""Models whose vocabulary grew: weights and logits against the model before, and their way through training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console
from test_bpe import CHINESE, words_of_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Tokenizer
from workbench import weitiao, write_recipe

from weitiao.cli import vocabulary
from weitiao.errors import ModelError
from weitiao.export.merge import merge
from weitiao.methods.open import open_model
from weitiao.recipe import load_recipe
from weitiao.study.train import train
from weitiao.vocabulary.extend import Extended, extend


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "zh.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in CHINESE * 3), encoding="utf-8")
    return path


@pytest.fixture(params=["tiny_llama_dir", "sentencepiece_dir"])
def directory(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def logits(directory: Path, text: str) -> torch.Tensor:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


def test_weights_and_logits_are_those_of_before_and_new_rows_are_means(
    directory: Path, corpus: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(directory, source)
    settings = {"temperature": 0.3, "do_sample": True, "eos_token_id": [2], "transformers_version": "5.0"}
    (source / "generation_config.json").write_text(json.dumps(settings))
    done = extend(str(source), tmp_path / "zh", corpus=[str(corpus)], size=13, tokens=["<|judge|>"], keep=[str(corpus)])
    old, new = (AutoModelForCausalLM.from_pretrained(one) for one in (source, tmp_path / "zh"))
    before, after = (AutoTokenizer.from_pretrained(one) for one in (source, tmp_path / "zh"))
    assert (len(done.words), done.tokens, done.first_id) == (13, ("<|judge|>",), len(before))
    assert after.get_vocab() == before.get_vocab() | {
        token: len(before) + place for place, token in enumerate([*done.words, "<|judge|>"])
    }
    rows, size = old.config.vocab_size, len(before) + 14
    assert new.config.vocab_size == done.rows_after == (-(-size // 8) * 8 if rows % 8 == 0 else size)
    assert (new.lm_head.weight is new.model.embed_tokens.weight) == old.config.tie_word_embeddings
    pieces = {one: [t.id for t in before.backend_tokenizer.model.tokenize(one)] for one in done.words}
    pieces["<|judge|>"] = before.encode("<|judge|>", add_special_tokens=False)
    for first, second in ((old.model.embed_tokens, new.model.embed_tokens), (old.lm_head, new.lm_head)):
        assert torch.equal(second.weight[: len(before)], first.weight[: len(before)])
        for token, ids in pieces.items():
            expected = first.weight.double()[ids].mean(0).float()
            torch.testing.assert_close(second.weight[after.convert_tokens_to_ids(token)], expected)
        assert torch.isfinite(second.weight).all()
    others = {
        name: one for name, one in old.state_dict().items() if "embed_tokens" not in name and "lm_head" not in name
    }
    assert all(torch.equal(new.state_dict()[name], one) for name, one in others.items())
    text = "the model learns from examples"
    assert torch.equal(logits(tmp_path / "zh", text)[..., : len(before)], logits(source, text)[..., : len(before)])
    assert json.loads((tmp_path / "zh" / "generation_config.json").read_text()) == settings
    assert after.chat_template == before.chat_template
    assert (after.bos_token, after.eos_token, after.unk_token) == (before.bos_token, before.eos_token, before.unk_token)
    assert after("<|judge|>天气")["input_ids"].count(after.convert_tokens_to_ids("<|judge|>")) == 1
    cut = done.corpus
    assert cut is not None
    assert cut == done.keep
    assert cut.characters == len("".join(CHINESE * 3))
    for tokenizer, tokens in ((before, cut.tokens_before), (after, cut.tokens_after)):
        assert tokens == sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in CHINESE * 3)


def test_ids_stand_behind_added_tokens_and_take_rows_without_a_token(
    tiny_llama_dir: Path, corpus: Path, tmp_path: Path
) -> None:
    """As with Qwen2: special tokens are not in the BPE's vocabulary, and its class builds the tokenizer anew."""
    state = json.loads((tiny_llama_dir / "tokenizer.json").read_text())["model"]
    vocabulary = {token: index - 3 for token, index in state["vocab"].items() if index > 2}
    merges = [tuple(pair) for pair in state["merges"]]
    tokenizer = Qwen2Tokenizer(vocabulary, merges, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    model.resize_token_embeddings(430, mean_resizing=False)
    model.save_pretrained(tmp_path / "qwen")
    tokenizer.save_pretrained(tmp_path / "qwen")
    done = extend(str(tmp_path / "qwen"), tmp_path / "zh", corpus=[str(corpus)], size=10)
    assert (done.first_id, done.rows_before, done.rows_after) == (len(tokenizer), 430, 430)
    after = AutoTokenizer.from_pretrained(tmp_path / "zh")
    assert type(after) is type(AutoTokenizer.from_pretrained(tmp_path / "qwen"))
    assert after.get_vocab().items() >= tokenizer.get_vocab().items()
    assert after.convert_tokens_to_ids(list(done.words)) == list(range(len(tokenizer), len(tokenizer) + 10))
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "zh").model.embed_tokens.weight
    ids = [one.id for one in tokenizer.backend_tokenizer.model.tokenize(done.words[0])]
    torch.testing.assert_close(new[done.first_id], model.model.embed_tokens.weight[ids].mean(0))
    with pytest.raises(ModelError, match=r"has ids up to \d+, its embeddings have 300 rows"):
        model.resize_token_embeddings(300)
        model.save_pretrained(tmp_path / "qwen")
        extend(str(tmp_path / "qwen"), tmp_path / "other", corpus=[str(corpus)], size=10)
    assert not (tmp_path / "other").exists()


def test_a_corpus_may_hold_pairs_and_marks(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [
        {"conversations": [{"from": "human", "value": text}], "chosen": text, "rejected": "no"} for text in CHINESE
    ]
    marked = [{"prompt": "hi", "completion": text, "label": True} for text in CHINESE]
    for name, rows in (("pairs.jsonl", pairs), ("marked.jsonl", marked)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = extend(str(tiny_llama_dir), Path("zh"), corpus=["pairs.jsonl", "marked.jsonl"], size=10)
    assert done.corpus is not None
    assert done.corpus.tokens_after < done.corpus.tokens_before
    assert len(done.words) == 10


def test_words_of_another_tokenizer_are_chosen_by_a_corpus(tiny_llama_dir: Path, corpus: Path, tmp_path: Path) -> None:
    model = words_of_model(tmp_path / "zh.model", ["，", "e", "天气", "▁unused", "公园", "没有", "机器学习"])
    corpus = shutil.copyfile(corpus, tmp_path / "corpus.jsonl")
    with corpus.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": "e" * 99}) + "\n")  # often, but it is a word already
    every = extend(str(tiny_llama_dir), tmp_path / "all", other=model)
    chosen = extend(str(tiny_llama_dir), tmp_path / "some", other=model, corpus=[str(corpus)], size=3)
    first = extend(str(tiny_llama_dir), tmp_path / "first", other=model, size=2)

    def texts(done: Extended) -> set[str]:
        tokenizer = AutoTokenizer.from_pretrained(done.path)
        return {tokenizer.decode(tokenizer.convert_tokens_to_ids(word)) for word in done.words}

    assert texts(every) >= {"，", "天气", " unused", "公园", "没有", "机器学习"}
    assert {one for one in texts(chosen) if len(one) > 1 and "\ufffd" not in one} == {"天气", "公园"}
    assert texts(chosen) >= {"，"}
    assert chosen.parts == len(chosen.words) - 3
    assert texts(first) & {"，", "天气", " unused", "公园"} == {"，", "天气"}
    with pytest.raises(ModelError, match="no words to choose from"):
        extend(str(tiny_llama_dir), tmp_path / "other", size=2, tokens=["<|judge|>"])


@pytest.mark.parametrize(
    "method", [{"type": "freeze", "layers": 0, "embeddings": True, "head": True}, {"type": "full"}]
)
def test_grown_embeddings_learn_and_are_saved(
    method: dict[str, Any], directory: Path, corpus: Path, tmp_path: Path
) -> None:
    done = extend(str(directory), tmp_path / "zh", corpus=[str(corpus)], size=13)
    path = write_recipe(tmp_path, done.path, objective={"type": "pretrain"}, data={"train": str(corpus)})
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method": method}))
    run = train(load_recipe(path), console=Console(quiet=True)).path
    before, after = (AutoModelForCausalLM.from_pretrained(one) for one in (done.path, run / "final"))
    assert after.config.vocab_size == done.rows_after == after.lm_head.weight.shape[0]
    tied = after.lm_head.weight is after.model.embed_tokens.weight
    assert tied == before.config.tie_word_embeddings
    assert not torch.equal(before.model.embed_tokens.weight[-13:], after.model.embed_tokens.weight[-13:])
    same = [name for name, one in before.named_parameters() if torch.equal(one, after.get_parameter(name))]
    learned = {"model.embed_tokens.weight"} | (set() if tied else {"lm_head.weight"})
    assert (method["type"] == "full" and not same) or set(dict(before.named_parameters())) - set(same) == learned
    again = extend(str(run / "final"), tmp_path / "more", tokens=["<|more|>"])
    assert again.first_id == done.first_id + 13


@pytest.mark.parametrize(
    "settings", [{"modules_to_save": ["embed_tokens", "lm_head"]}, {"trainable_token_indices": "new"}]
)
def test_adapters_on_grown_embeddings_are_opened_and_merged(
    settings: dict[str, Any], directory: Path, corpus: Path, tmp_path: Path
) -> None:
    done = extend(str(directory), tmp_path / "zh", corpus=[str(corpus)], size=13)
    if "trainable_token_indices" in settings:
        settings = {"trainable_token_indices": f"{done.first_id}-{done.first_id + 12}"}
    path = write_recipe(
        tmp_path, done.path, objective={"type": "pretrain"}, data={"train": str(corpus)}, method=settings
    )
    run = train(load_recipe(path), console=Console(quiet=True)).path
    merged = merge(run, tmp_path / "merged").path
    ids = torch.arange(done.first_id, done.first_id + 13)[None]
    with torch.no_grad():
        expected = open_model(run, attention="sdpa").model(input_ids=ids).logits
        base = AutoModelForCausalLM.from_pretrained(done.path)(input_ids=ids).logits
        found = AutoModelForCausalLM.from_pretrained(merged)(input_ids=ids).logits
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    assert (expected - base).abs().max() > 1e-3
    assert AutoTokenizer.from_pretrained(merged).get_vocab() == AutoTokenizer.from_pretrained(done.path).get_vocab()


def test_new_rows_alone_learn_as_trainable_tokens_of_peft(directory: Path, corpus: Path, tmp_path: Path) -> None:
    done = extend(str(directory), tmp_path / "zh", corpus=[str(corpus)], size=13)
    ids = list(range(done.first_id, done.first_id + 13))
    path = write_recipe(tmp_path, done.path, objective={"type": "pretrain"}, data={"train": str(corpus)})
    method = {"type": "peft", "tuner": "trainable_tokens", "token_indices": ids}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method": method}))
    merged = merge(train(load_recipe(path), console=Console(quiet=True)).path, tmp_path / "merged").path
    before, after = (AutoModelForCausalLM.from_pretrained(one) for one in (done.path, merged))
    moved = (before.model.embed_tokens.weight != after.model.embed_tokens.weight).any(1).nonzero().flatten().tolist()
    assert set(moved) <= set(ids)
    assert len(moved) > 5
    others = (name for name, _ in before.named_parameters() if "embed_tokens" not in name)
    assert all(torch.equal(before.get_parameter(name), after.get_parameter(name)) for name in others)


def test_what_cannot_be_extended_is_refused(tiny_llama_dir: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(ModelError, match="exists already"):
        extend(str(tiny_llama_dir), tmp_path / "taken", corpus=[str(corpus)])
    with pytest.raises(ModelError, match="nowhere cannot be read: there is no such file"):
        extend(str(tiny_llama_dir), tmp_path / "new", other=Path("nowhere"))
    for given in ({"tokens": ["<|im_start|>"]}, {"other": tiny_llama_dir}):
        with pytest.raises(ModelError, match="has all of these words already"):
            extend(str(tiny_llama_dir), tmp_path / "new", **given)
    assert not list(tmp_path.glob("new*"))
    shutil.copytree(tiny_llama_dir, tmp_path / "unigram")
    state = json.loads((tmp_path / "unigram" / "tokenizer.json").read_text())
    state["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [[token, 0.0] for token in state["model"]["vocab"]]}
    (tmp_path / "unigram" / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(ModelError, match=r"neither byte-level BPE nor SentencePiece's BPE \(Unigram\)"):
        extend(str(tmp_path / "unigram"), tmp_path / "new", corpus=[str(corpus)])
    assert extend(str(tmp_path / "unigram"), tmp_path / "new", tokens=["<|judge|>"]).tokens == ("<|judge|>",)


def test_a_file_of_tokens_that_is_not_there_is_no_token(tiny_llama_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("<|é|>".encode("latin-1"))
    for name, what in (("roles.txt", "there is no such file"), ("latin.txt", "is not UTF-8 text")):
        done = weitiao("vocab", "extend", tiny_llama_dir, tmp_path / "new", "--tokens", tmp_path / name)
        assert done.returncode == 2 and what in done.stderr
        assert not (tmp_path / "new").exists()


def test_the_command_prints_what_was_added(tiny_llama_dir: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "roles.txt").write_text("<|judge|>\n<|user|>\n")
    done = weitiao(
        "vocab", "extend", tiny_llama_dir, "zh", "--corpus", corpus, "--size", "12", "--tokens", "roles.txt",
        "--tokens", "<|x|>", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (len(found["words"]), found["tokens"], found["keep"]) == (12, ["<|judge|>", "<|user|>", "<|x|>"], None)
    assert "12 new" in done.stderr
    assert "characters a token before" in done.stderr
    assert len(AutoTokenizer.from_pretrained(tmp_path / "zh")) == found["first_id"] + 15
    with pytest.raises(typer.BadParameter, match="--tokens"):
        vocabulary.extend(str(tiny_llama_dir), tmp_path / "other")
