"""Promises about text of strangers on a terminal and in messages: it is read, and does nothing."""

import io
import json
import logging
import sys

import pytest

from manifests.errors import Rejected
from manifests.shown_text import visible, visible_json
from manifests.storage import redact_text
from pipelines.boundary import reasons
from pipelines.console import Console, print_json, print_text
from pipelines.watching import logs

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b31m\rb\u202ecod\u2066.exe\u200b\ufeff\xad\U000e0041\ud800"


def harmless(text: str) -> bool:
    return not set(text) & set("\x1b\x07\x9b\r\u202e\u2066\u200b\ufeff\xad\U000e0041\ud800")


def test_what_a_terminal_would_act_on_is_shown_as_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say(f"row 0: {HOSTILE}")
    console.failed(HOSTILE, HOSTILE)
    console.pass_on(HOSTILE + "\x1b[31mred\x1b[0m\n")
    Console(structured=True).failed(HOSTILE, HOSTILE)
    print_text(HOSTILE)
    print_json({"id": HOSTILE})
    out, err = capsys.readouterr()
    assert harmless(out)
    assert "⟨U+001B⟩]0;title⟨U+0007⟩" in out
    assert harmless(err.replace("\x1b[31m", "").replace("\x1b[0m", ""))
    assert "\x1b[31mred\x1b[0m" in err
    assert json.loads(out[out.index("{") :]) == {"id": HOSTILE}, "another program gets what was there"


def test_a_message_shows_it_as_the_report_does() -> None:
    assert Rejected("a\u2060b\U000e0041", "\xad").error == visible("a\u2060b\U000e0041") == "a⟨U+2060⟩b⟨U+E0041⟩"
    assert harmless(Rejected(HOSTILE, HOSTILE).error)
    assert json.loads(visible_json(json.dumps(HOSTILE, ensure_ascii=False))) == HOSTILE


def test_text_that_people_write_stays() -> None:
    text = "Größe 葛\U000e0100城 日本語 عربى न\u200dही 👩\u200d🎨\tx\ny\r\n"
    assert visible(text) == text.replace("\r\n", "\r\n") or visible(text) == text.replace("\r\n", "\n")
    assert json.loads(visible_json(json.dumps(text))) == text


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("level", ["warning", "info"])
def test_no_log_line_acts_or_tells_a_secret(
    form: str, level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("stages.of_this_test")
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    ours = [logging.getLogger(name) for name in logs.OURS]
    before = [(one, one.handlers, one.level) for one in ours]
    try:
        logs.begin(form, level)  # type: ignore[arg-type]
        log.warning("%s of s3://b/k?X-Amz-Signature=SECRET", HOSTILE)
    finally:
        for one, handlers, number in before:
            one.handlers, one.level = handlers, number
    assert harmless(told.getvalue())
    assert "title" in told.getvalue()
    assert "SECRET" not in told.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "GET https://b.s3.amazonaws.com/k?X-Amz-Credential=SECRET%2F20&X-Amz-Signature=SECRET failed",
        "An error: s3://key:SECRET/with/slash@bucket/k",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET+/==;EndpointSuffix=core",
        "SharedAccessSignature=SECRET, AWSAccessKeyId=SECRET aws_secret_access_key=SECRET",
        "headers {'Authorization': 'Bearer SECRET.SECRET-SECRET'} session_token=SECRET",
        "path /container/k%3Fsv=2020&sig=SECRET of abfs://c@a/k%3Fsig=SECRET",
        "{'aws_secret_access_key': 'SECRET', 'aws_session_token': b'SECRET'} secretAccessKey: SECRET",
        "aws_secret_access_key = SECRET\naws_session_token = SECRET",
        '{"token": "SECRET", "client_secret":"SECRET"} and escaped {\\"token\\": \\"SECRET\\"}',
        "X-Amz-Security-Token: SECRET/SECRET==",
        "Authorization: Basic SECRETSECRET=, authorization=token SECRET",
        "a header Basic SECRETSECRETSECRET== was sent",
        "Authorization: AWS4-HMAC-SHA256 Credential=SECRET/2026, SignedHeaders=host, Signature=SECRET",
        "passwd=SECRET password: SECRET DB_PASSWORD='SECRET'",
        "cannot log in with hf_SECRETSECRETSECRETSECRET at the hub",
    ],
)
def test_no_library_tells_a_secret_through_a_result(text: str) -> None:
    for error in (Rejected(text, text), RuntimeError(text)):
        assert "SECRET" not in str(reasons(error))
        assert reasons(error)["error"]
    assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "token 3 of 77; signal=SIGTERM; seed=4; the password is asked for; assigned=5",
        "filter with sig=5, sigma=1.5, n_sig = 3 and design: bold",
        "Unexpected token: '<' in JSON at position 3; pad_token: <pad>, max_tokens = 77",
        "basic support for a signature: none; the bearer of a gift; Basic authentication failed",
        "x-amz-request-id: 4442587FB7D0A2F9, secret_environment: {}, hf_hub_download and hf_transfer",
        "key: value, keypoints: 3, monkey=1, 'prompt': 'a password manager at a desk', api: v1",
    ],
)
def test_ordinary_words_are_no_secrets(text: str) -> None:
    assert redact_text(text) == text
