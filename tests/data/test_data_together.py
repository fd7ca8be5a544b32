"""What asks the same, or almost the same, stands on one side of a split and never among the examples of a prompt."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from weitiao.baseline.fewshot import choose_shots
from weitiao.data.config import DataConfig
from weitiao.data.conversion.records import Input
from weitiao.data.example import Example
from weitiao.data.load import DataSet, load_data
from weitiao.data.parts.asked import Asked, asked_by, asked_in
from weitiao.data.parts.split_files import split_file
from weitiao.data.parts.splits import Keyed, hold_out
from weitiao.data.parts.together import stay_together, twins_of
from weitiao.recipe import load_recipe, write_recipe

_NOUNS = (
    "kettle ladder window carpet violin bucket pillow saddle candle hammer basket mirror zipper button locket goblet"
)
THINGS = [f"{size}{colour} {noun}" for size in ("", "tiny ", "huge ") for colour in ("red", "green", "white", "plain")
          for noun in _NOUNS.split()]  # fmt: skip
OPENINGS = ["could you", "when shall we", "why did they", "must she", "how can one"]
PLACES = [
    "in the attic",
    "behind our shed",
    "under his old bed",
    "near a quiet lake",
    "on top of the fridge",
    "at the fair",
]


def sentences(num: int, *, seed: int = 0) -> list[str]:
    """Questions of ten words and more that have little in common."""
    draw = random.Random(seed)
    verbs = ["mend", "paint", "carry", "polish", "borrow", "measure", "wrap", "dust", "lend", "trade", "hide", "find"]
    chosen = [draw.sample(THINGS, 3) for _ in range(num)]
    return [
        f"{draw.choice(OPENINGS)} {draw.choice(verbs)} {one} and {draw.choice(verbs)} {two} "
        f"with {three} {draw.choice(PLACES)} {number} times"
        for number, (one, two, three) in enumerate(chosen)
    ]


def conversation(question: str, answer: str = "yes", system: str = "") -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load(path: Path, **settings: Any) -> DataSet:
    return load_data(DataConfig.model_validate({"train": str(path), **settings}))


def question_of(example: Example) -> str:
    return next(str(turn["content"]) for turn in example.messages if turn["role"] == "user")


def parts_of(folder: Path) -> dict[str, list[str]]:
    """The questions of each part that `data split` wrote."""
    return {
        file.stem: [
            next(turn["content"] for turn in json.loads(line)["messages"] if turn["role"] == "user")
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        for file in folder.glob("*.jsonl")
    }


def test_one_question_under_two_system_prompts_stands_on_one_side(tmp_path: Path) -> None:
    rows = [conversation(q, system=s) for s in ("Be brief.", "You are a pirate.") for q in sentences(200)]
    file = write(tmp_path / "rows.jsonl", rows)
    for keep in ("near", "same"):
        data = load(file, test=0.2, validation=0.1, keep_together=keep)
        train, validation, test = (
            {question_of(one) for one in part} for part in (data.train, data.validation, data.test)
        )
        assert (len(data.test), len(data.validation)) == (80, 40)
        assert not train & test and not train & validation and not validation & test
    split_file(Input(str(file)), tmp_path / "parts", test=0.2)
    parts = parts_of(tmp_path / "parts")
    assert len(parts["test"]) == 80 and not set(parts["test"]) & set(parts["train"])


@pytest.mark.parametrize("instruction", ["", "Answer the question below like a careful clerk of an old museum. " * 8])
def test_near_twins_stand_on_one_side(tmp_path: Path, instruction: str) -> None:
    """A long instruction in the same line makes no rows alike, and no twins unlike."""
    asked = sentences(300)
    pairs = {q: f"{q}, thanks" for q in asked} | {f"{q}, thanks": q for q in asked}
    file = write(tmp_path / "rows.jsonl", [conversation(instruction + q) for q in pairs])
    data = load(file, test=0.1)
    train, test = ({question_of(one).removeprefix(instruction) for one in part} for part in (data.train, data.test))
    assert len(test) == 60 and not {pairs[q] for q in test} & train
    loose = load(file, test=0.1, keep_together="same")
    train, test = ({question_of(one).removeprefix(instruction) for one in part} for part in (loose.train, loose.test))
    assert len({pairs[q] for q in test} & train) > 40
    split_file(Input(str(file)), tmp_path / "parts", test=0.1)
    parts = {name: {q.removeprefix(instruction) for q in rows} for name, rows in parts_of(tmp_path / "parts").items()}
    assert len(parts["test"]) == 60 and not {pairs[q] for q in parts["test"]} & parts["train"]
    assert parts["test"] == {question_of(one).removeprefix(instruction) for one in data.test}
    split_file(Input(str(file)), tmp_path / "loose", test=0.1, near=False)
    assert set(parts_of(tmp_path / "loose")["test"]) == {question_of(one) for one in loose.test}


def test_the_words_of_a_template_make_no_rows_alike_and_its_columns_do(tmp_path: Path) -> None:
    """Two sources ask the same messages with templates of their own."""
    messages = sentences(150)
    files = [write(tmp_path / f"{name}.jsonl", [{"m": m, "a": "yes"} for m in messages]) for name in "ab"]
    words = ["Which of the departments of our very large company has to " + "look after and " * n for n in (20, 30)]
    sources = [
        {"path": str(file), "prompt": f"{text}answer: {{{{ m }}}}", "completion": "{{ a }}"}
        for file, text in zip(files, words, strict=True)
    ]
    data = load_data(DataConfig.model_validate({"train": sources, "test": 0.2}))
    train, test = ({question_of(one).split("answer: ")[1] for one in part} for part in (data.train, data.test))
    assert len(data.test) == 60 and len(test) == 30 and not train & test


def test_the_order_of_the_rows_does_not_matter() -> None:
    texts = [
        f"{opening}{q}" for q in sentences(120) for opening in ("", "tell me ", "now ", "so ", "well then ", "oh ")
    ]
    rows = [Keyed(asked_by(one), one) for one in map(chat, texts)]
    shuffled = random.Random(1).sample(rows, len(rows))
    one, other = (hold_out(some, [70, 30], seed=2) for some in (rows, shuffled))
    assert [{row.asked.draw for row in part} for part in one.parts] == [
        {row.asked.draw for row in part} for part in other.parts
    ]
    bare = [{row.example.row_id.split(" times")[0][-30:] for row in part} for part in one.parts]
    assert not bare[0] & bare[1] and not bare[0] & bare[2] and not bare[1] & bare[2]


def chat(question: str) -> Example:
    return Example(question, ({"role": "user", "content": question}, {"role": "assistant", "content": "yes"}))


def test_a_chain_of_ever_less_similar_rows_does_not_swallow_the_data() -> None:
    """Each row is almost the next one; what is left apart is counted."""
    words = [f"word{i}" for i in range(700)]
    chain = [asked_by(chat(" ".join(words[i * 2 : i * 2 + 60]))) for i in range(300)]
    groups, apart = stay_together(chain, near=True, most=30)
    assert max(map(len, groups.values())) <= 30 and apart > 0
    assert sum(len(group) > 5 for group in groups.values()) > 5
    whole, none = stay_together(chain, near=True, most=len(chain))
    assert (len(whole), none) == (1, 0)


def test_pairs_that_are_left_apart_are_told(tmp_path: Path) -> None:
    words = [f"word{i}" for i in range(700)]
    rows = [conversation(" ".join(words[i * 2 : i * 2 + 60])) for i in range(300)]
    data = load(write(tmp_path / "rows.jsonl", rows), test=0.1)
    assert 25 <= len(data.test) <= 30
    (overlap,) = data.overlaps
    assert "almost the same input" in str(overlap) and overlap.other == "test" and overlap.rows > 0


def test_groups_and_twins_are_those_of_brute_force() -> None:
    draw = random.Random(3)
    texts = []
    for question in sentences(150, seed=4):
        words = question.split()
        texts += [" ".join(words[: len(words) - draw.randint(0, 2)]) for _ in range(draw.randint(1, 4))]
    asked = [asked_by(chat(text)) for text in texts]
    sets = [{tuple(text.split()[i : i + 3]) for i in range(len(text.split()) - 2)} for text in texts]
    alike = [[len(a & b) / len(a | b) for b in sets] for a in sets]
    parents = list(range(len(texts)))

    def root(position: int) -> int:
        while parents[position] != position:
            position = parents[position]
        return position

    for i, row in enumerate(alike):
        for j, value in enumerate(row[:i]):
            if value >= 0.8:
                parents[root(i)] = root(j)
    expected = sorted(sorted(i for i in range(len(texts)) if root(i) == one) for one in set(map(root, parents)))
    groups, _ = stay_together(asked, near=True, most=len(asked))
    found = sorted(map(sorted, groups.values()))
    # The estimate of a similarity has a standard deviation of 3.5 points: a few pairs at the border are seen otherwise.
    assert len([group for group in found if group not in expected]) <= 0.05 * len(expected)
    half = len(texts) // 2
    near = set(twins_of(asked[:half], asked[half:]))
    clear = {i for i in range(half) if max(alike[i][half:]) >= 0.9}
    assert clear <= near and all(max(alike[i][half:]) >= 0.7 for i in near)


def test_a_long_turn_within_a_conversation_is_asked_too() -> None:
    question = "what is the best way to keep bread fresh for a whole week in summer"
    longer = asked_in(
        [*chat(question).messages, {"role": "user", "content": "and in winter, with a cold larder nearby?"}]
    )
    groups, _ = stay_together(
        [asked_by(chat(question)), longer, asked_by(chat("other " + question[:20]))], near=True, most=9
    )
    assert sorted(map(len, groups.values())) == [1, 2]


def test_no_twin_of_a_test_question_stands_in_a_prompt() -> None:
    asked = sentences(40)
    train = [chat(f"Please, {q}, thanks") for q in asked]
    test = [chat(q) for q in asked[:30]]
    for selection in ("nearest", "random"):
        shots = choose_shots(train, test, num=3, selection=selection, seed=0)
        assert {shot.row_id for row in shots for shot in row} <= {one.row_id for one in train[30:]}


def test_ten_thousand_questions_are_grouped_in_a_second() -> None:
    rows: list[Asked] = [asked_by(chat(question)) for question in sentences(10_000)]
    started = time.process_time()
    groups, _ = stay_together(rows, near=True, most=100)
    assert time.process_time() - started < 3
    assert len(groups) > 9_000


def test_a_run_from_before_the_setting_keeps_its_split(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [conversation(q) for q in sentences(20)])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{model: x, data: {train: rows.jsonl, test: 0.5}}")
    assert load_recipe(recipe).data.keep_together == "near"
    assert load_recipe(tmp_path).data.keep_together == "same"
    write_recipe(load_recipe(recipe), recipe)
    assert load_recipe(tmp_path).data.keep_together == "near"
