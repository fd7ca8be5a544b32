"""Judge models whose choice is known beforehand, a server that does as it is told, and a real model by letters."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from rigged_judge import ALWAYS_A, ALWAYS_B, LOOKS_AT_THE_FIRST, build

from weitiao.errors import ModelError
from weitiao.evaluation.judges.local import LocalJudge
from weitiao.evaluation.judges.pairwise import JudgeConfig, ServerJudge
from weitiao.feedback.asking import ask_judge
from weitiao.feedback.items import PreferenceItem
from weitiao.feedback.preference import Preference, summarise
from weitiao.feedback.store import FeedbackStore
from weitiao.methods.open import open_model

PAIRS = [
    *[("bad", "GOOD")] * 6,  # B is better
    *[("GOOD", "bad")] * 2,  # A is better
    *[("GOOD one", "GOOD two")] * 3,  # the first place looks better in both orders
    *[("bad one", "bad two")] * 4,  # the second place does
    ("GOOD", "GOOD "),  # the same answer
]


def pairs() -> list[PreferenceItem]:
    return [
        PreferenceItem(f"i{k}", f"row:{k}", ({"role": "user", "content": f"question {k}"},), a, b)
        for k, (a, b) in enumerate(PAIRS)
    ]


def asked(judge: LocalJudge | ServerJudge, path: Path) -> Preference:
    store = FeedbackStore(path)
    done = ask_judge(judge, pairs(), store)
    return summarise(judge.name, pairs(), store.by(judge.name), num_unparsable=done.num_unparsable)


@pytest.fixture
def rigged(tmp_path: Path, tiny_llama_dir: Path) -> Any:
    def open_rigged(template: str) -> LocalJudge:
        directory = build(tmp_path / "judge", tiny_llama_dir, template)
        return LocalJudge(JudgeConfig(model=str(directory)), open_model(directory), weights="0123456789abcdef")

    return open_rigged


def test_a_judge_that_sees_quality(rigged: Any, tmp_path: Path) -> None:
    found = asked(rigged(LOOKS_AT_THE_FIRST), tmp_path / "feedback.db")
    assert found.test is not None
    assert (found.test.wins, found.test.losses, found.test.ties) == (6, 2, 7)
    assert (found.num_items, found.num_same, found.num_judged, found.num_disagreements) == (15, 1, 15, 7)
    assert found.first_share is not None
    assert found.first_share.value == pytest.approx((8 * 0.5 + 3) / 15)


@pytest.mark.parametrize(("template", "share"), [(ALWAYS_A, 1.0), (ALWAYS_B, 0.0)])
def test_a_judge_that_only_sees_the_place(rigged: Any, tmp_path: Path, template: str, share: float) -> None:
    found = asked(rigged(template), tmp_path / "feedback.db")
    assert (found.test, found.num_ties, found.num_disagreements) == (None, 15, 15)
    assert found.first_share is not None
    assert (found.first_share.value, found.first_share.n) == (share, 15)
    assert not found.first_share.low <= 0.5 <= found.first_share.high


def test_a_judge_that_is_asked_again_only_answers_what_is_new(rigged: Any, tmp_path: Path) -> None:
    judge = rigged(LOOKS_AT_THE_FIRST)
    store = FeedbackStore(tmp_path / "feedback.db")
    assert ask_judge(judge, pairs()[:4], store).num_new == 8
    progress: list[tuple[int, int]] = []
    again = ask_judge(judge, pairs()[:6], store, on_progress=lambda *at: progress.append(at))
    assert again.num_new == 4
    assert progress[-1] == (4, 4)
    assert ask_judge(judge, pairs()[:6], FeedbackStore(store.path)).num_new == 0


def test_judgements_of_other_weights_or_questions_are_those_of_another_judge(rigged: Any, tiny_llama_dir: Path) -> None:
    judge = rigged(ALWAYS_A)
    opened = open_model(tiny_llama_dir)
    same = {"model": judge.name.partition("@")[0]}
    names = {
        judge.name,
        LocalJudge(JudgeConfig.model_validate(same), opened, weights="ffff").name,
        LocalJudge(JudgeConfig.model_validate({**same, "language": "zh"}), opened, weights="0123456789abcdef").name,
    }
    assert len(names) == 3


def test_the_likelihood_is_that_of_the_letter_alone(rigged: Any) -> None:
    """Of 400 tokens one has the logit 20 and all others 0."""
    judge = rigged(ALWAYS_A)
    assert judge.answer([judge.question.ask(pairs()[0].messages, *pairs()[0].shown("ab"))]) == ["first"]
    vocabulary = len(judge._opened.tokenizer)
    expected = (math.exp(20) + 1) / (math.exp(20) + vocabulary - 1)
    assert judge.letter_shares == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("directory", "languages", "items"),
    [("tiny_llama_dir", ("en", "zh"), pairs()[4:8]), ("smollm2_dir", ("en",), pairs()[6:7])],
    ids=["random", "real"],
)
def test_a_model_chooses_the_letter_that_transformers_holds_more_likely(
    request: pytest.FixtureRequest, directory: str, languages: tuple[str, ...], items: list[PreferenceItem]
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path: Path = request.getfixturevalue(directory)
    opened = open_model(path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    letters = [tokenizer(letter, add_special_tokens=False).input_ids[0] for letter in "AB"]
    for language in languages:
        config = JudgeConfig.model_validate({"model": str(path), "language": language})
        judge = LocalJudge(config, opened, weights="w")
        questions = [judge.question.ask(item.messages, *item.shown(order)) for item in items for order in ("ab", "ba")]
        replies = judge.answer(questions)
        for question, reply, share in zip(questions, replies, judge.letter_shares, strict=True):
            text = tokenizer.apply_chat_template(list(question), add_generation_prompt=True, tokenize=False)
            with torch.no_grad():
                logits = model(tokenizer(text, return_tensors="pt").input_ids).logits[0, -1]
            probabilities = logits.double().softmax(0)[letters].tolist()
            assert reply == ("first" if probabilities[0] > probabilities[1] else "second")
            assert share == pytest.approx(sum(probabilities), rel=1e-3)


@contextmanager
def serving(
    status: int = 200, key: str | None = None, puts_off: int = 0, late: str = "never"
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server of the OpenAI kind that prefers the answer with GOOD, and rambles about two bad ones.

    Args:
        status: Of its replies.
        key: Without which it refuses.
        puts_off: So many requests are to be sent again after 0.3 s.
        late: What is said of a conversation about which it thinks for longer than anyone waits.
    """
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = len(requests)
            requests.append({**body, "path": self.path, "key": self.headers["Authorization"], "at": time.monotonic()})
            if number < puts_off:
                self.send_response(429)
                self.send_header("Retry-After", "0.3")
                self.end_headers()
                return
            if late in body["messages"][0]["content"]:
                time.sleep(1.5)
            first, second = body["messages"][0]["content"].split("[Answer B]")
            good = "GOOD" in first, "GOOD" in second
            text = {(True, False): "A", (False, True): "**B**", (True, True): "<think>B?</think>A."}.get(
                good, "Neither."
            )
            usage = {"prompt_tokens": 100, "completion_tokens": 3}
            reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})
            self.send_response(status if key is None or self.headers["Authorization"] == f"Bearer {key}" else 401)
            self.end_headers()
            self.wfile.write(reply.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_judges_by_what_it_writes(tmp_path: Path) -> None:
    with serving() as (url, requests):
        found = asked(ServerJudge(JudgeConfig(model=f"{url}#some-model")), tmp_path / "feedback.db")
    assert found.test is not None
    assert (found.test.wins, found.test.losses, found.test.ties) == (6, 2, 3)
    assert found.num_unparsable == 8  # two bad answers, four pairs in both orders
    assert found.num_judged == 11
    assert len(requests) == 30
    assert requests[0]["path"] == "/v1/chat/completions"
    assert (requests[0]["model"], requests[0]["temperature"], requests[0]["key"]) == ("some-model", 0, None)


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("abc\n")
    with serving(key="abc") as (url, _):
        asked(ServerJudge(JudgeConfig(model=f"{url}#m", api_key_file=key)), tmp_path / "feedback.db")
        with pytest.raises(ModelError, match="401"):
            asked(ServerJudge(JudgeConfig(model=f"{url}#m")), tmp_path / "others.jsonl")


def test_a_server_that_fails_is_named(tmp_path: Path) -> None:
    with serving(status=500) as (url, _), pytest.raises(ModelError, match="500"):
        asked(ServerJudge(JudgeConfig(model=f"{url}#m")), tmp_path / "feedback.db")
    with pytest.raises(ModelError, match="cannot be reached"):
        asked(ServerJudge(JudgeConfig(model=f"{url}#m")), tmp_path / "feedback.db")
    with pytest.raises(ModelError, match="no model"):
        ServerJudge(JudgeConfig(model=url))


def test_a_server_is_asked_as_often_as_it_wants_and_what_it_took_is_kept(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    with serving(puts_off=1, late="question 3") as (url, requests):
        config = JudgeConfig(
            model=f"{url}#m", requests_at_once=4, timeout_seconds=0.5, requests_per_minute=1200, price=(1000, 10_000)
        )
        done = ask_judge(ServerJudge(config), pairs(), store)
        name = ServerJudge(config).name
        assert done.spent is not None
        assert (done.num_new, done.num_unparsable) == (20, 8)  # of 30 questions two had no reply in time
        assert (done.spent.requests, done.spent.timeouts) == (28, 2)
        assert (done.spent.prompt_tokens, done.spent.completion_tokens) == (2800, 84)
        assert done.spent.cost == pytest.approx(2.8 + 0.84)
        assert FeedbackStore(store.path).spent() == {name: done.spent}
        times = sorted(one["at"] for one in requests)
        assert len(times) == 31
        assert times[-1] - times[0] > 0.3 + 24 * 0.05  # one rest, and a pace of 20 a second
        again = ask_judge(ServerJudge(config), pairs()[:1], store)
        assert (again.num_new, len(requests)) == (0, 31)
    with serving(late="question") as (url, _), pytest.raises(ModelError, match=r"no reply within 0\.2 s"):
        asked(ServerJudge(JudgeConfig(model=f"{url}#m", timeout_seconds=0.2)), tmp_path / "other.db")
