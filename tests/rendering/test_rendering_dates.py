"""Templates that print the date: the day of the run is part of the template that is saved."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from chat_styles import CHATML
from transformers import AutoTokenizer

from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.templates import apply_template, fixed_date, pin_date, pinned_date, prints_date

MESSAGES = [{"role": "user", "content": "Hi"}]
DATED = {
    "llama": "{%- if not date_string is defined -%}{%- if strftime_now is defined -%}"
    "{%- set date_string = strftime_now('%d %b %Y') -%}{%- else -%}{%- set date_string = '26 Jul 2024' -%}{%- endif -%}"
    "{%- endif -%}{{- 'Today Date: ' + date_string + '\n' -}}" + CHATML,
    "granite": "  {{- 'Today: ' + strftime_now('%B %-d, %Y') }} \n" + CHATML,
    "in a macro": "{%- macro day(f) -%}{{- strftime_now(f) -}}{%- endmacro -%}{{- day('%A %j %%') -}}\n" + CHATML,
    "time of day": "\n{{ strftime_now('%H:%M:%S') }}\n\n" + CHATML,
}


def printed(tokenizer: Any, template: str) -> str:
    return tokenizer.apply_chat_template(MESSAGES, chat_template=template, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("name", list(DATED))
def test_a_fixed_day_is_printed_as_the_template_itself_prints_it_on_that_day(
    byte_level: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from transformers.utils import chat_template_utils

    day = date(2031, 3, 7)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(day.year, day.month, day.day)

    fixed = pin_date(DATED[name], day)
    ours = printed(byte_level, fixed)
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    chat_template_utils._compile_jinja_template.cache_clear()
    assert ours == printed(byte_level, DATED[name])
    chat_template_utils._compile_jinja_template.cache_clear()
    assert pinned_date(fixed) == "2031-03-07" and pinned_date(DATED[name]) is None
    assert pin_date(fixed, date(2032, 1, 1)) == pin_date(DATED[name], date(2032, 1, 1))


def test_the_day_is_saved_with_the_tokenizer_and_other_templates_stay_as_they_are(
    byte_level: Any, tmp_path: Path
) -> None:
    byte_level.chat_template = CHATML
    apply_template(byte_level, RenderingConfig(date=date(2031, 3, 7)))
    assert byte_level.chat_template == CHATML and fixed_date(byte_level) is None and not prints_date(CHATML)
    byte_level.chat_template = DATED["llama"]
    apply_template(byte_level, RenderingConfig())
    assert fixed_date(byte_level) == date.today().isoformat()
    apply_template(byte_level, RenderingConfig(date=date(2031, 3, 7)))
    byte_level.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert "Today Date: 07 Mar 2031\n" in saved.apply_chat_template(MESSAGES, tokenize=False)
    apply_template(saved, RenderingConfig())  # a model that is tuned again keeps its day
    assert fixed_date(saved) == "2031-03-07"
