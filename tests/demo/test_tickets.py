"""The demo's data: every answer must be right, and the test wording must be new to the model."""

from __future__ import annotations

import hashlib
import json
import re
import string
from datetime import date, datetime
from pathlib import Path

import pytest

from weitiao.demo.run import ANSWER_TOKENS
from weitiao.demo.tickets import INSTRUCTION, PRODUCTS, TEST, TRAIN, Row, TicketData, Wording, generate, write

KEYS = ["order", "product", "quantity", "date", "urgency"]
NUMBER_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ORDER_IN_TEXT = re.compile(r"(?<![\w-])#?(?:([A-Za-z])-?)?(\d{5})(?!\d)")
DATE_FORMATS = {
    r"[A-Z][a-z]+ \d{1,2}, \d{4}": ("%B %d, %Y", "%b %d, %Y"),
    r"\d{1,2} [A-Z][a-z]+ \d{4}": ("%d %B %Y", "%d %b %Y"),
    r"\d{2}\.\d{2}\.\d{4}": ("%d.%m.%Y",),
    r"\d{4}/\d{2}/\d{2}": ("%Y/%m/%d",),
    r"\d{4}-\d{2}-\d{2}": ("%Y-%m-%d",),
}


@pytest.fixture(scope="module")
def data() -> TicketData:
    return generate(2000, 200, 1000, seed=7)


def rows_of(data: TicketData) -> list[Row]:
    return [*data.train, *data.validation, *data.test]


def dates_in(text: str) -> list[date]:
    """All dates of a message, read by `strptime` and not by the generator's own tables."""
    found = []
    for pattern, formats in DATE_FORMATS.items():
        for match in re.findall(rf"(?<![\w/.-]){pattern}(?![\w/-])", text):
            for style in formats:
                try:
                    found.append(datetime.strptime(match, style).date())
                except ValueError:
                    continue
                break
    return found


def as_pattern(sentence: str) -> re.Pattern[str]:
    """A sentence template as an expression that matches it with any values."""
    literals = [re.escape(literal) for literal, *_ in string.Formatter().parse(sentence)]
    return re.compile(".{1,40}".join(literals))


def test_answers_are_one_compact_line_with_five_typed_fields_in_fixed_order(data: TicketData) -> None:
    for row in rows_of(data):
        answer = json.loads(row["output"])
        assert list(answer) == KEYS
        assert row["output"] == json.dumps(answer, separators=(",", ":"))
        assert "\n" not in row["output"]
        assert re.fullmatch(r"([A-Z]-)?\d{5}", answer["order"])
        assert answer["product"] in {name for name, _ in PRODUCTS}
        assert type(answer["quantity"]) is int
        assert answer["quantity"] >= 1
        assert date.fromisoformat(answer["date"]).isoformat() == answer["date"]
        assert answer["urgency"] in {"low", "normal", "high"}


def test_a_message_names_one_order_and_it_is_the_answers(data: TicketData) -> None:
    for row in rows_of(data):
        orders = ORDER_IN_TEXT.findall(row["input"])
        assert len(orders) == 1, row
        letter, digits = orders[0]
        assert json.loads(row["output"])["order"] == (f"{letter.upper()}-{digits}" if letter else digits)


def test_a_message_holds_one_date_and_it_is_the_answers(data: TicketData) -> None:
    for row in rows_of(data):
        assert dates_in(row["input"]) == [date.fromisoformat(json.loads(row["output"])["date"])], row


def test_quantity_and_product_stand_together_in_the_message(data: TicketData) -> None:
    plural_of = dict(PRODUCTS)
    for row in rows_of(data):
        answer = json.loads(row["output"])
        quantity, product = answer["quantity"], answer["product"]
        noun = product if quantity == 1 else plural_of[product]
        wordings = [f"{quantity} x {product}", f"{quantity} {noun}"]
        if quantity <= len(NUMBER_WORDS):
            wordings.append(f"{NUMBER_WORDS[quantity - 1]} {noun}")
        pattern = "|".join(rf"(?<!\w){re.escape(wording)}(?!\w)" for wording in wordings)
        assert len(re.findall(pattern, row["input"], flags=re.IGNORECASE)) == 1, row


def test_no_catalogue_name_hides_inside_another() -> None:
    names = [name for name, _ in PRODUCTS]
    assert len(set(names)) == len(names) == 40
    assert not [(a, b) for a in names for b in names if a != b and a in b]


def test_urgency_phrases_decide_the_urgency(data: TicketData) -> None:
    for part, wording in ((data.train, TRAIN), (data.validation, TRAIN), (data.test, TEST)):
        for row in part:
            said = {
                level
                for level, phrases in wording.urgency.items()
                if any(phrase and phrase in row["input"] for phrase in phrases)
            }
            assert (said or {"normal"}) == {json.loads(row["output"])["urgency"]}, row


def test_no_phrase_belongs_to_two_urgencies() -> None:
    for wording in (TRAIN, TEST):
        phrases = [phrase for level in wording.urgency.values() for phrase in set(level)]
        assert len(set(phrases)) == len(phrases)


def test_there_is_enough_variety_and_every_sentence_takes_each_value_once() -> None:
    assert len(set(TRAIN.sentences)) >= 30
    assert len(set(TEST.sentences)) >= 12
    for sentence in (*TRAIN.sentences, *TEST.sentences):
        fields = [name for _, name, _, _ in string.Formatter().parse(sentence) if name]
        assert sorted(fields) == ["date", "items", "order"], sentence


def test_no_test_wording_occurs_in_the_training_part(data: TicketData) -> None:
    seen = "\n\n".join(row["input"] for row in (*data.train, *data.validation))
    phrases = [phrase for level in TEST.urgency.values() for phrase in level]
    for phrase in filter(None, (*TEST.greetings, *phrases, *TEST.closings)):
        assert phrase.lower() not in seen.lower(), phrase
    for sentence in TEST.sentences:
        assert not as_pattern(sentence).search(seen), sentence


def test_no_training_wording_occurs_in_the_test_part(data: TicketData) -> None:
    seen = "\n\n".join(row["input"] for row in data.test)
    phrases = [phrase for level in TRAIN.urgency.values() for phrase in level]
    for phrase in filter(None, (*TRAIN.greetings, *phrases, *TRAIN.closings)):
        assert phrase not in seen, phrase
    for sentence in TRAIN.sentences:
        assert not as_pattern(sentence).search(seen), sentence


def test_the_generator_uses_every_phrase_of_its_part(data: TicketData) -> None:
    for rows, wording in ((data.train, TRAIN), (data.test, TEST)):
        seen = "\n\n".join(row["input"] for row in rows)
        assert all(as_pattern(sentence).search(seen) for sentence in wording.sentences)
        assert all(phrase in seen for phrase in flat(wording))


def flat(wording: Wording) -> list[str]:
    return [*wording.greetings, *wording.closings, *(p for level in wording.urgency.values() for p in level)]


def test_no_order_number_and_no_message_occurs_twice(data: TicketData) -> None:
    rows = rows_of(data)
    assert len({row["input"] for row in rows}) == len(rows)
    assert len({json.loads(row["output"])["order"] for row in rows}) == len(rows)


def test_values_are_spread_and_messages_are_short(data: TicketData) -> None:
    answers = [json.loads(row["output"]) for row in data.train]
    for level in ("low", "normal", "high"):
        assert 0.28 < sum(answer["urgency"] == level for answer in answers) / len(answers) < 0.39
    assert {answer["product"] for answer in answers} == {name for name, _ in PRODUCTS}
    assert {answer["quantity"] for answer in answers} == set(range(1, 41))
    assert len({answer["date"] for answer in answers}) > 800
    assert max(len(row["input"].split()) for row in rows_of(data)) <= 45


def test_the_instruction_is_shared_and_names_every_key(data: TicketData) -> None:
    assert {row["instruction"] for row in rows_of(data)} == {INSTRUCTION}
    assert all(key in INSTRUCTION for key in KEYS)


def test_every_answer_and_its_end_fit_into_the_tokens_that_the_demo_allows(smollm2_dir: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(smollm2_dir / "tokenizer.json"))
    longest = max(
        len(tokenizer.encode(row["output"], add_special_tokens=False).ids)
        for seed in range(3)
        for row in rows_of(generate(640, 16, 150, seed=seed))
    )
    assert longest + 1 <= ANSWER_TOKENS


def test_the_seed_decides_the_rows_on_every_python_version() -> None:
    rows = rows_of(generate(50, 5, 20, seed=0))
    assert rows == rows_of(generate(50, 5, 20, seed=0))
    assert rows != rows_of(generate(50, 5, 20, seed=1))
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    assert digest == "ad84c69ee72c71bd87aa0d3d19f173db33d7af9052d08c4c61c10298c4d3e3ee"


def test_the_test_part_does_not_depend_on_the_size_of_the_others() -> None:
    assert generate(10, 0, 30, seed=3).test == generate(500, 50, 30, seed=3).test


def test_written_files_read_back_as_the_same_rows(tmp_path: Path) -> None:
    data = generate(6, 2, 3, seed=5)
    files = write(data, tmp_path / "new" / "tickets")
    assert [path.name for path in files.values()] == ["train.jsonl", "validation.jsonl", "test.jsonl"]
    for part, path in files.items():
        assert [json.loads(line) for line in path.read_bytes().decode("utf-8").splitlines()] == list(
            getattr(data, part)
        )
