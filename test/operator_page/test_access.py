"""Who may come in."""

import ssl
import stat

import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.operator_page.access import (
    CERTIFICATE_FILE,
    KEY_FILE,
    TOKEN_FILE,
    Token,
    is_loopback,
    is_own_host,
    is_own_origin,
    make_tls,
    own_names,
)


def test_the_token_is_made_once_and_is_for_its_user_alone(tmp_path):
    first = Token(tmp_path / "state")
    assert len(first.text) >= 32 and Token(tmp_path / "state").text == first.text
    assert stat.S_IMODE((tmp_path / "state" / TOKEN_FILE).stat().st_mode) == 0o600
    assert Token(tmp_path / "another").text != first.text


@pytest.mark.parametrize(("text", "mode", "words"), [("x" * 43, 0o644, "others can read it"), ("short", 0o600, "32 are needed")])
def test_a_token_that_is_none_is_refused_with_the_remedy(tmp_path, text, mode, words):
    (tmp_path / TOKEN_FILE).write_text(text)
    (tmp_path / TOKEN_FILE).chmod(mode)
    with pytest.raises(ConfigurationError, match=words) as error:
        Token(tmp_path)
    assert "delete it" in str(error.value)


def test_only_the_whole_token_is_right(tmp_path):
    token = Token(tmp_path)
    assert token.is_right(token.text)
    for wrong in ("", token.text[:-1], token.text + "x", token.text.swapcase(), None, 7, [token.text], "\ud800", "é" * 43):
        assert not token.is_right(wrong)


@pytest.mark.parametrize(("host", "is_ours"), [
    ("localhost:8470", True), ("127.0.0.1:8470", True), ("[::1]:8470", True), ("192.168.1.7", True), ("ROBOT.lan:8470", True),
    ("evil.example:8470", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False), ("[evil]", False)])  # fmt: skip
def test_another_name_is_no_host_of_ours(host, is_ours):
    assert is_own_host(host, own_names(("robot.lan",))) == is_ours


@pytest.mark.parametrize(("origin", "is_ours"), [
    ("https://robot:8470", True), ("https://ROBOT:8470", True), ("http://robot:8470", False), ("https://robot", False),
    ("https://robot:8470.evil.example", False), ("null", False), (None, False)])  # fmt: skip
def test_only_the_page_itself_is_of_this_origin(origin, is_ours):
    assert is_own_origin(origin, "https", "robot:8470") == is_ours


@pytest.mark.parametrize(("host", "is_so"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("robot", False)])
def test_loopback_is_known(host, is_so):
    assert is_loopback(host) == is_so


def test_the_certificate_is_kept_until_its_names_or_its_key_are_others(tmp_path):
    context, first = make_tls(tmp_path, ("localhost", "127.0.0.1"))
    assert isinstance(context, ssl.SSLContext) and make_tls(tmp_path, ("localhost",))[1] == first
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    second = make_tls(tmp_path, ("localhost", "robot.lan"))[1]
    assert second != first
    (tmp_path / KEY_FILE).write_text("nothing")
    assert make_tls(tmp_path, ("localhost",))[1] != second
    (tmp_path / CERTIFICATE_FILE).unlink()
    make_tls(tmp_path, ("localhost",))
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(ConfigurationError, match="others can read it"):
        make_tls(tmp_path, ("localhost",))
