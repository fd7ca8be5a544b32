"""Every kind of finding in a single row: what is found, and what must not be, in English and Chinese."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checking import check_files, of_kind, pair, rows_of, write_rows

ENGLISH = "The library opens at nine in the morning and closes at six in the evening, and on Sundays it stays closed."
CHINESE = "图书馆早上九点开门，晚上六点关门，星期天不开放，节假日的开放时间会在门口另行通知，请各位读者留意。"


def found(tmp_path: Path, kind: str, rows: list[Any], severity: str | None = None) -> list[int]:
    report = check_files(write_rows(tmp_path / "rows.jsonl", rows), kinds={kind})
    assert set(report.counts) <= {kind}
    return rows_of(report, kind, severity)


def test_mojibake(tmp_path: Path) -> None:
    good = ["café, naïve, Zürich", "¿Qué tal? — “bien”", "你好，世界！🙂", "100 € ± 5 µm", "Ünïcödé", "ﬁne"]
    bad = ["cafÃ© au lait", "itâ€™s fine", good[2].encode().decode("cp1252", errors="replace"), "â€œquotedâ€\x9d text"]
    rows = [pair(text) for text in [*good, *bad]]
    assert found(tmp_path, "encoding", rows) == [7, 8, 9, 10]


def test_replacement_characters_are_lost_text(tmp_path: Path) -> None:
    report = check_files(write_rows(tmp_path / "a.jsonl", [pair("fine"), pair("caf\ufffd")]), kinds={"encoding"})
    (finding,) = report.findings
    assert (finding.row, finding.severity) == (2, "warning")
    assert "U+FFFD" in finding.reason


def test_control_characters(tmp_path: Path) -> None:
    good = ["tab\tand\nline", "👨‍👩‍👧 family", "می‌خواهم", "نص عربي"]
    bad = ["null\0byte", "bell\x07", "zero\u200bwidth", "\ufeffmark", "soft\u00adhyphen", "\u202eright to left"]
    assert found(tmp_path, "control_characters", [pair(text) for text in [*good, *bad]]) == list(range(5, 11))


def test_whitespace_is_told_but_is_no_error(tmp_path: Path) -> None:
    rows = [pair("plain"), pair("a\u00a0b"), pair(" before"), pair("x", "after\n"), pair("a\r\nb"), pair("两\u3000个")]
    assert found(tmp_path, "whitespace", rows, "info") == [2, 3, 4, 5]


@pytest.mark.parametrize("empty", ["", " \n", "\u00a0", "\u200b\u200b", None])
def test_empty_answers_of_every_sort(tmp_path: Path, empty: str | None) -> None:
    rows = [pair("a", "yes"), {"prompt": "b", "completion": empty}]
    report = check_files(write_rows(tmp_path / "a.jsonl", rows))
    assert rows_of(report, "empty_answer", "error") == [2]
    turns = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": text}] for text in ("a", empty or "")]
    report = check_files(write_rows(tmp_path / "b.jsonl", [{"messages": one} for one in turns]))
    assert rows_of(report, "empty_answer") == [2]


def test_an_answer_in_another_script(tmp_path: Path) -> None:
    found_rows = [
        pair("列出四张披头士专辑。", "Here is a list of four albums by The Beatles, in the order of their release."),
        pair("安排明天上午十点的会议。", "Certainly, I will schedule a meeting for you tomorrow at ten."),
        pair("What is the capital of France, and how large is it?", "法国的首都是巴黎，面积一百零五平方公里。"),
        pair("Когда открывается библиотека?", ENGLISH),
    ]
    let_alone = [
        pair("把下面的句子翻译成英语：图书馆早上九点开门。", ENGLISH),
        pair("Please translate into Chinese: the library opens at nine.", CHINESE),
        pair("How do you say good morning in Chinese?", "早上好，您今天过得怎么样啊？"),
        pair("写一个求和函数。", "def add(a, b):\n    return a + b\n\nprint(add(1, 2))"),
        pair("写一个函数。", "```python\ndef hello_world(name):\n    print('good morning', name)\n```"),
        pair("给出用户的资料。", '{"name": "Ada Lovelace", "city": "London", "job": "mathematician and writer"}'),
        pair("一加一等于几？", "2"),
        pair("这是哪一类问题？", "card_arrival"),
        pair("起一个名字。", "DelishDish"),
        pair("你好，世界在哪里？", CHINESE),
        pair("When does it open?", ENGLISH),
    ]
    assert found(tmp_path, "language", [*found_rows, *let_alone]) == [1, 2, 3, 4]


def test_words_that_the_question_names_make_it_a_remark(tmp_path: Path) -> None:
    rows = [
        pair("写一个包含“do away with”短语的句子。", "Many people believe that we should do away with plastic bags.")
    ]
    assert found(tmp_path, "language", rows, "info") == [1]
    assert found(tmp_path, "language", rows, "warning") == []


def test_languages_of_one_script(tmp_path: Path) -> None:
    french = (
        "La bibliothèque ouvre à neuf heures du matin et ferme à six heures du soir, mais elle reste fermée le "
        "dimanche et pendant les jours fériés, comme on peut le lire sur la porte."
    )
    question = (
        "When does the library in our town open in the morning, when does it close in the evening, and is it open on "
        "Sundays and on public holidays, too?"
    )
    rows = [pair(question, french), pair(question, ENGLISH), pair(f"{question} Answer in French.", french)]
    assert found(tmp_path, "language", rows) == [1]


def test_placeholders(tmp_path: Path) -> None:
    certain = ["I am {{name}}, made by {{ author }}.", "Welcome to ${company}!", "我是{{姓名}}。"]
    likely = ["Dear [NAME], hello", "Dear [Your Name],", "Dear <name>, hello", "Hello {first_name}!"]
    good = [
        "Use `{{ name }}` in the file.", "```\n{{ name }}\n```", "$\\frac{name}{two}$", "See [this](http://a.b) [1].",
        "if (a) { b } else { c }", '{"name": "Ada"}', "x < name > y", "[INST] is a token", "集合 {a, b}",
    ]  # fmt: skip
    rows = [pair("Who are you?", text) for text in [*certain, *likely, *good]]
    assert found(tmp_path, "placeholder", rows, "error") == [1, 2, 3]
    assert found(tmp_path, "placeholder", rows, "warning") == [4, 5, 6, 7]
    code = [pair("Who are you?", "Run this:\n```\necho hi\n```\nThen ${name} is printed.")]
    assert found(tmp_path, "placeholder", code, "warning") == [1]
    about = [pair("How do Jinja templates print a variable?", "Write {{ name }}.")]
    assert found(tmp_path, "placeholder", about) == []


def test_truncated_answers(tmp_path: Path) -> None:
    long, chinese = " ".join([ENGLISH] * 3), CHINESE * 3
    bad = [long[:-20], f"{long} Then they,", chinese[:-8], f"Look:\n```python\nprint(1)\n{long}"]
    good = [
        long, chinese, "card_arrival", "Paris", f"{long}\n- one\n- two", f"{long}\n\nBest regards,\nAda",
        "def f(x):\n    y = x\n" * 20 + "    return y", f"{long} 🙂", f"{long}\n```\nx\n```", "x" * 400,
    ]  # fmt: skip
    assert found(tmp_path, "truncated", [pair("Tell me.", text) for text in [*bad, *good]]) == [1, 2, 3, 4]


def test_refusals(tmp_path: Path) -> None:
    bad = [
        "I'm sorry, but I can't help with that.", "As an AI language model, I have no feelings.",
        "I cannot provide medical advice.", "抱歉，我无法回答这个问题。", "作为一个人工智能语言模型，我没有情感。",
    ]  # fmt: skip
    good = [
        "I'm sorry for your loss.", "I can help with that.", "You cannot provide two answers.",
        "对不起的英文是 sorry。",
        "As an adult, I work.", "无法无天是一个成语。",
    ]  # fmt: skip
    assert found(tmp_path, "refusal", [pair("q", text) for text in [*bad, *good]], "info") == [1, 2, 3, 4, 5]


def test_html(tmp_path: Path) -> None:
    bad = ["<p>Hello</p> you", "one<br/>two", "Tom &amp; Jerry", "space&nbsp;here", '<a href="x">link</a>']
    good = ["a < b and c > d", "AT&T", "Use `<br>` here.", "```html\n<p>x</p>\n```", "x <- 3", "<name>", "R&D; S&P"]
    assert found(tmp_path, "html", [pair("Tell me.", text) for text in [*bad, *good]]) == [1, 2, 3, 4, 5]
    assert found(tmp_path, "html", [pair("Write an HTML page.", "<p>Hello</p>")]) == []


def test_special_tokens(tmp_path: Path) -> None:
    bad = ["hi<|im_end|>", "end</s>", "[INST] do [/INST]", "<|endoftext|>", "<start_of_turn>user", "<<SYS>>be good"]
    good = ["a <b> c", "[1] and [x]", "1 <| 2 |> 3", "<state>", "[INSTANCE]"]
    assert found(tmp_path, "special_tokens", [pair(text) for text in [*bad, *good]]) == [1, 2, 3, 4, 5, 6]


def test_special_tokens_of_a_tokenizer(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair("say <mine> now"), pair("say it")])
    assert rows_of(check_files(file, special_tokens=("<mine>",)), "special_tokens") == [1]


def test_personal_data(tmp_path: Path) -> None:
    bad = [
        "Write to ada.lovelace@mail.org today.", "Call 13812345678 now.", "Call (212) 555-0188.",
        "Call +44 20 7946 0958.",
        "Card 4111 1111 1111 1111.", "身份证号：11010519491231002X。", "Pay to DE89 3704 0044 0532 0130 00.",
        "电话：+86 138 1234 5678",
    ]  # fmt: skip
    good = [
        "Write to ada@example.com.", "Order 4111 1111 1111 1112.", "身份证号：110105194912310021。",
        "On 2021-10-15 at 10:30.",
        "Pay to DE89 3704 0044 0532 0130 01.", "3.14159265358979", "1234567890123456", "ISBN 978-3-16-148410-0",
        "10000000000 + 20000000000", "$350000-210000=140000", "v1.2.3.4 at 192.168.100.200", "@someone said", "a@b",
    ]  # fmt: skip
    report = check_files(
        write_rows(tmp_path / "a.jsonl", [pair(text) for text in [*bad, *good]]), kinds={"personal_data"}
    )
    assert rows_of(report, "personal_data", "warning") == list(range(1, len(bad) + 1))
    shown = "".join(finding.example for finding in report.findings)
    assert "lovelace" not in shown
    assert "4111" not in shown
    sorts = {finding.reason for finding in report.findings}
    assert len(sorts) == 5


def test_long_rows(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair("a" * 50), pair("a" * 101), pair("b" * 60, "c" * 60)])
    assert rows_of(check_files(file, max_characters=100), "long") == [2, 3]


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"text {i}"} for i, role in enumerate(roles)]}


def test_the_order_of_turns(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {}}]}
    tools = {
        "messages": [
            {"role": "user", "content": "q"}, call, {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"},
            {"role": "assistant", "content": "a"},
        ]
    }  # fmt: skip
    good = [turns("user", "assistant"), turns("system", "user", "assistant", "user", "assistant"), tools]
    bad = [
        turns("assistant", "user", "assistant"), turns("user", "user", "assistant"), turns("user", "assistant", "user"),
        turns("user", "system", "assistant"), turns("user", "tool", "assistant"), turns("system", "assistant"),
        turns("user", "assistant", "assistant"), turns("user"),
    ]  # fmt: skip
    assert found(tmp_path, "role_order", [*good, *bad], "error") == list(range(4, 12))


def test_label_typos(tmp_path: Path) -> None:
    labels = ["card_arrival"] * 60 + ["card_lost"] * 50 + ["level 1"] * 40 + ["level 2"] + ["Card Lost", "card_arival"]
    rows = [pair(f"question number {i} about {i * i}", label) for i, label in enumerate(labels)]
    report = check_files(write_rows(tmp_path / "a.jsonl", rows), kinds={"label_typo"})
    assert [(f.example, f.row) for f in report.findings] == [("Card Lost", 152), ("card_arival", 153)]
    free = [pair(f"question {i}", f"answer number {i}") for i in range(200)]
    assert found(tmp_path, "label_typo", free) == []


def test_rows_that_cannot_be_used_are_findings_with_their_reasons(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lines = [
        '{"prompt": "a", "completion": "b"}',
        '{"prompt": "a", ',
        "[1]",
        '{"prompt": "a"}',
        '{"prompt": 1, "completion": "x"}',
    ]
    file.write_text("\n".join(lines) + "\n")
    report = check_files(file, kinds={"format"})
    assert rows_of(report, "format", "error") == [2, 3, 4, 5]
    assert len(of_kind(report, "format")) == 4
    assert all(finding.file == str(file) for finding in report.findings)


def test_clean_rows_have_no_findings_at_all(tmp_path: Path) -> None:
    rows = [
        pair(f"Where is house number {i} on street {i * 7}?", f"Behind the {i}th tree on the left.") for i in range(40)
    ]
    rows += [pair(f"第{i}号房子在哪条街上？", f"在左边第{i}棵树的后面，过了第{i * 3}座桥就是。") for i in range(40)]
    report = check_files(write_rows(tmp_path / "rows.jsonl", rows))
    assert report.findings == ()
    assert report.rows == 80
    assert not report.has_errors


def test_repeated_reasons_are_one_finding(tmp_path: Path) -> None:
    rows = [pair(f"unlike question {i} {i * i}", "" if i % 3 == 0 else f"answer {i}") for i in range(30)]
    report = check_files(write_rows(tmp_path / "rows.jsonl", rows), kinds={"empty_answer"})
    (finding,) = report.findings
    assert (finding.row, finding.count, report.counts) == (1, 10, {"empty_answer": 10})
    assert finding.rows == list(range(1, 31, 3))
    assert finding.line == 1
