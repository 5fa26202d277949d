"""OCR by a model behind an endpoint: what is sent, and what becomes of answers good and bad."""

from __future__ import annotations

import base64
import email.utils
import itertools
import time
from typing import Any

import pymupdf
import pytest
from drawn import Drawn
from vision_server import Model, Reply, answers, endless, hangs_up, never, says, serving, together, where

from stages.extract.pdf.answer import Answer, Turned, markdown_blocks, read_answer, repeated
from stages.extract.pdf.content import Block
from stages.extract.pdf.endpoint import EndpointUnusable, retry_after, wait_before
from stages.extract.pdf.ocr import MAX_WAIT_SECONDS, Unread, VisionOptions
from stages.extract.pdf.vision import VisionOcr, picture_of

AT_ONCE = {"retry_after": "0"}
FRONT = "---\nprimary_language: en\nis_rotation_valid: {}\nrotation_correction: {}\nis_table: False\n---\n"
STORY = "I'm sorry, " + ", ".join(f"said the {n}th of them, and went on" for n in range(20))
LOOP = "And so it goes on.\n" * 50


def read(model: Model, pages: int = 1, **options: Any) -> list[list[Block] | Unread]:
    drawn = Drawn(400, 600).text(50, 50, "One")
    for _ in range(pages - 1):
        drawn.page(400, 600)
    backend = VisionOcr(VisionOptions(endpoint=model.address, model="reader", **options))
    found = list(backend.recognise(drawn.document(), range(pages)))
    assert [number for number, _ in found] == list(range(pages))
    return [result for _, result in found]


def reason(result: list[Block] | Unread) -> str:
    assert isinstance(result, Unread)
    return result.reason


def test_what_is_sent_and_what_comes_back() -> None:
    with serving(says("# A title\n\nIts text.")) as model:
        (result,) = read(model, longest_side=300, prompt="Read.", max_tokens=77)
    assert result == [Block("heading", "A title"), Block("paragraph", "Its text.")]
    (request,) = model.requests
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("reader", 77, 0)
    text, image = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "Read."}
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    picture = pymupdf.Pixmap(base64.b64decode(data))
    assert (picture.width, picture.height) == (200, 300)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READER_KEY", "secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # which is not used
    with serving(says("Text")) as model:
        read(model, api_key_env="READER_KEY")
    assert model.headers[0]["authorization"] == "Bearer secret"
    monkeypatch.delenv("READER_KEY")
    with pytest.raises(ValueError, match="READER_KEY is not set"):
        VisionOcr(VisionOptions(endpoint="http://h/v1", model="m", api_key_env="READER_KEY"))


@pytest.mark.parametrize(
    "fault",
    [
        answers(429, "busy", **AT_ONCE),
        answers(503, "busy", **AT_ONCE),
        answers(500, "Traceback", **AT_ONCE),
        answers(408, "", **AT_ONCE),
        says(LOOP),
        says("The text is cut", finish="length"),
    ],
)
def test_a_second_attempt_helps(fault: Reply) -> None:
    with serving(fault, fault, says("The text.")) as model:
        assert read(model) == [[Block("paragraph", "The text.")]]
    assert len(model.requests) == 3


def test_a_loop_is_asked_again_at_a_higher_temperature() -> None:
    with serving(says(LOOP)) as model:
        (result,) = read(model, attempts=3)
    assert result == Unread("ocr_repeats", "line 50 times: And so it goes on.")
    temperatures = [request["temperature"] for request in model.requests]
    assert temperatures[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(temperatures))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (never, "ocr_timeout"),
        (endless, "ocr_bad_answer"),
        (hangs_up, "ocr_unreachable"),
        (answers(429, "busy", **AT_ONCE), "ocr_overloaded"),
        (answers(502, "bad gateway", **AT_ONCE), "ocr_http_error"),
        (answers(200, "<html>Welcome to the proxy</html>"), "ocr_bad_answer"),
        (answers(200, "[" * 100_000), "ocr_bad_answer"),
        (answers(200, '{"choices": []}'), "ocr_bad_answer"),
        (answers(200, '{"choices": [{"message": {"content": 7}}]}'), "ocr_bad_answer"),
        (says("x" * 5_000_000), "ocr_bad_answer"),
    ],
)
def test_faults_of_the_server_are_the_pages_faults_after_all_attempts(reply: Reply, expected: str) -> None:
    with serving(reply) as model:
        (result,) = read(model, attempts=1, timeout_seconds=30 if reply is not never else 0.2)
    assert reason(result) == expected
    assert isinstance(result, Unread) and result.fault and len(result.detail or "") <= 200


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (says(""), "ocr_empty"),
        (says(None), "ocr_empty"),
        (says(FRONT.format("True", 0)), "ocr_empty"),
        (says("I'm sorry, but I can't assist with that."), "ocr_refused"),
        (says(None, refusal="No."), "ocr_refused"),
        (says("", finish="content_filter"), "ocr_refused"),
        (answers(400, "too many tokens"), "ocr_http_error"),
    ],
)
def test_some_answers_are_final(reply: Reply, expected: str) -> None:
    with serving(reply) as model:
        (result,) = read(model)
    assert reason(result) == expected
    assert len(model.requests) == 1


@pytest.mark.parametrize("reply", [answers(401, "wrong key"), answers(404, "no such model")])
def test_a_wrong_key_model_or_address_ends_the_document(reply: Reply) -> None:
    with serving(reply) as model, pytest.raises(EndpointUnusable, match="HTTP 40"):
        read(model, pages=3, concurrency=1)


def test_redirects_are_not_followed() -> None:
    with serving(says("stolen")) as elsewhere, serving(answers(307, "", location=elsewhere.address)) as model:
        with pytest.raises(EndpointUnusable, match="HTTP 307"):
            read(model)
        assert elsewhere.requests == []


def test_nobody_there() -> None:
    with serving(says("")) as model:
        pass
    (result,) = read(model, attempts=1)
    assert reason(result) == "ocr_unreachable"


def test_a_page_that_fails_leaves_the_others_alone() -> None:
    with serving(says("First."), answers(400, "bad image"), says("Third.")) as model:
        first, second, third = read(model, pages=3, concurrency=1)
    assert (first, reason(second), third) == (
        [Block("paragraph", "First.")],
        "ocr_http_error",
        [Block("paragraph", "Third.")],
    )


def test_pages_are_in_flight_together_and_no_more_than_allowed() -> None:
    with serving(together(3)) as model:
        results = read(model, pages=6, concurrency=3)
    assert results == [[Block("paragraph", "Side by side")]] * 6
    assert model.together == 3


def test_what_nobody_waits_for_is_hung_up() -> None:
    document = Drawn().text(50, 50, "First").page().page().page().document()
    first = base64.b64encode(picture_of(document, 0, 1288)).decode()
    with serving(where(first, says("First."), otherwise=never)) as model:
        backend = VisionOcr(VisionOptions(endpoint=model.address, model="reader", concurrency=3))
        pages = backend.recognise(document, range(4))
        assert next(pages) == (0, [Block("paragraph", "First.")])
        pages.close()  # and does not wait the five minutes that an answer may take
        assert len(model.requests) <= 3


def test_a_page_on_its_side_is_turned() -> None:
    with serving(says(FRONT.format("False", 90) + "gibberish"), says(FRONT.format("True", 0) + "Upright.")) as model:
        assert read(model, longest_side=300) == [[Block("paragraph", "Upright.")]]
    shapes = []
    for request in model.requests:
        data = request["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2]
        picture = pymupdf.Pixmap(base64.b64decode(data))
        shapes.append((picture.width, picture.height))
    assert shapes == [(200, 300), (300, 200)]


@pytest.mark.parametrize(
    ("attempt", "asked", "wait"),
    [(0, None, 1), (3, None, 8), (50, None, MAX_WAIT_SECONDS), (0, 17, 17), (5, 0, 0), (0, 1e9, MAX_WAIT_SECONDS)],
)
def test_waits_grow_and_are_bounded(attempt: int, asked: float | None, wait: float) -> None:
    assert wait_before(attempt, asked) == wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12),
        ("9" * 400, 999_999_999),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_a_date() -> None:
    found = retry_after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert found is not None and 90 < found <= 100


@pytest.mark.parametrize(
    "text",
    [
        "the same words " * 40,
        "Some text first.\n" + "- item\n- other\n" * 30,
        "また同じことを言う。" * 60,
        "A good page. " + "na" * 80,
        "<table>" + "<tr><td>Total</td></tr>" * 30 + "</table>",
    ],
)
def test_loops(text: str) -> None:
    assert repeated(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Contents ........................................................... 7\n" * 8,
        "| 0 | 0 | 0 | 0 |\n" * 60,
        "<table>" + "<tr>" + "<td>0.0</td>" * 50 + "</tr></table>",
        "___ " * 100,
        "Row row row your boat gently down the stream, " * 3 + "merrily " * 4,
        " ".join(f"word{n}" for n in range(3000)),
    ],
)
def test_what_is_no_loop(text: str) -> None:
    assert repeated(text) is None


@pytest.mark.parametrize(
    "text", ["ab" * 100_000, "a " * 100_000, "a\n" * 100_000, "<a" * 100_000, "---\n" * 50_000, "```" * 60_000]
)
def test_long_answers_take_no_time(text: str) -> None:
    start = time.process_time()
    read_answer(Answer(text, "stop"))
    assert time.process_time() - start < 5


def test_markdown() -> None:
    text = """## Results

First line
second line

- one
  more of it
- two
3. three

| a | b |
|---|---|
| 1 | 2 |

<table>
<tr><td>x

y</td></tr>
</table>
After it."""
    assert [(block.kind, block.text) for block in markdown_blocks(text)] == [
        ("heading", "Results"),
        ("paragraph", "First line\nsecond line"),
        ("item", "- one more of it"),
        ("item", "- two"),
        ("item", "3. three"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("table", "<table>\n<tr><td>x\ny</td></tr>\n</table>"),
        ("paragraph", "After it."),
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("```markdown\nText.\n```", "stop"), [Block("paragraph", "Text.")]),
        (Answer(FRONT.format("True", 0) + "Text.", "stop"), [Block("paragraph", "Text.")]),
        (Answer(FRONT.format("False", 180), "stop"), Turned(180)),
        (
            Answer("---\n\nText after a rule", "stop"),
            [Block("paragraph", "---"), Block("paragraph", "Text after a rule")],
        ),
        (Answer(STORY, "stop"), [Block("paragraph", STORY)]),
    ],
)
def test_wrappings(answer: Answer, expected: Any) -> None:
    assert read_answer(answer) == expected
