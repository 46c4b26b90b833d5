"""`humanoid episodes report`: one page that needs nothing else."""

import base64
import io
import re

import av
import pytest

from humanoid_control.cli import main
from humanoid_control.recording.card import CARD, FAILURE, Card, Segment
from humanoid_control.recording.report import FILM_HZ, VIEW_HEIGHT, VIEW_WIDTH, subtask_spans


@pytest.fixture(scope="module")
def page(real, copied, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    copied(real[0], folder / "episodes", "good", begin_s=1.0, end_s=5.0)
    copied(real[0], folder / "episodes", "bad", begin_s=2.0, end_s=4.0, outcome=FAILURE, note="<b>it tilted</b>")
    (folder / "episodes" / "half").mkdir()
    (folder / "episodes" / "half" / CARD).write_text("{")
    assert main(["episodes", "report", str(folder / "episodes"), "--out", str(folder / "report.html")]) == 0
    return folder, (folder / "report.html").read_text()


def test_every_episode_is_on_it_with_outcome_problems_and_what_was_done(page):
    _, text = page
    assert text.count("<section") == 4 and "<b>3</b><span>episodes" in text and "<b>1</b><span>successes" in text
    for part in ('id="good"', 'class="pill success"', 'class="pill failure">failure', ">approach</div>", ">ready</div>", "scripted", "factory sha256", "line_side, seed 11"):
        assert part in text, part
    assert 'id="half"' in text and "is no card of an episode" in text
    assert "&lt;b&gt;it tilted&lt;/b&gt;" in text and "<b>it tilted" not in text


def test_it_has_plots_and_needs_nothing_else(page):
    _, text = page
    for title in ("Joint speeds", "Hands, z", "Gripper forces", "Latency"):
        assert title in text
    assert text.count("<svg") == 2 * 7
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)


def test_its_films_are_whole(page):
    _, text = page
    films = re.findall(r"data:video/mp4;base64,([A-Za-z0-9+/=]+)", text)
    assert len(films) == 2
    with av.open(io.BytesIO(base64.b64decode(films[1]))) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", VIEW_WIDTH, VIEW_HEIGHT)
        assert sum(1 for _ in film.decode(stream)) == 4 * FILM_HZ


def test_films_may_lie_beside_it(page):
    folder, _ = page
    assert main(["episodes", "report", str(folder / "episodes" / "good"), "--out", str(folder / "light.html"), "--beside"]) == 0
    assert 'src="light_films/good.mp4"' in (folder / "light.html").read_text() and (folder / "light_films" / "good.mp4").stat().st_size > 1000


def test_what_a_person_put_right_is_what_counts():
    card = Card("e", begun_ns=0, ended_ns=10 * 10**9, segments=[Segment(2.0, 4.0, "grip"), Segment(4.0, 5.0, "lift")])
    card.events = [type("E", (), {"kind": "subtask", "text": "teleoperate", "log_ns": 10**9})()]
    assert subtask_spans(card) == [(1.0, 2.0, "teleoperate"), (2.0, 4.0, "grip"), (4.0, 5.0, "lift"), (5.0, 10.0, "teleoperate")]
