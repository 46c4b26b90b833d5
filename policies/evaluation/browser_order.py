"""One order, carried out by a person's stand-in at the operator's page in a browser, and recorded: `python -m policies.evaluation.browser_order --help`.

It launches `humanoid launch teleop`, opens the page in a headless Chromium that has an emulated headset, takes control, begins an episode of
the factory's first order and drives by what the page shows: walks, grips, carries, places. Then it keeps the episode as done. Nothing
but the page's own messages and inputs is used.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.nodes.factory_file import find_factory, find_factory_file
from humanoid_control.recording.card import CARD, SUCCESS, VERDICT, Card
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.environment import prepare_environment
from humanoid_control.ros.launched import launched
from humanoid_control.ros.page_connection import page_url
from policies.evaluation.page_in_browser import DESKTOP, PHONE, PageInBrowser, chromium, open_with_headset
from policies.evaluation.person import DrivingError, Person

LOG, SUMMARY, EPISODES = "launch.log", "drive.json", "episodes"
STARTS_WITHIN_S, PACKED_WITHIN_S = 120.0, 120.0
JPEG_QUALITY = 80  # of pictures
JUDGED_S = 2.0  # that the robot stands before the episode is ended
NAME = "Ada"
HOLDS_TOTE = "carries"  # how the words begin with which it sets out with the tote


def main() -> int:
    """Carries out the command; 0 only if the order was done, by the judge's word, and kept."""
    parser = argparse.ArgumentParser(prog="python -m policies.evaluation.browser_order", description=__doc__.partition(":")[0])
    parser.add_argument("--factory", default="table_to_conveyor", help="factory file, or the name of one in config/factories")
    parser.add_argument("--seed", type=int, default=0, help="of the episode drawn from the factory (default: 0)")
    parser.add_argument("--poses", default="oracle", metavar="RUNG", help="who says where things are: oracle (default), fiducial, detector or tracker")
    parser.add_argument("--rate", type=float, default=1.0, help="simulated time over wall time (default: 1): less where the machine draws slowly")
    parser.add_argument("--out", type=Path, default=Path("out/browser_order"), help="folder for episode, pictures and log (default: out/browser_order)")
    parser.add_argument("--no-pictures", action="store_true", help="take no pictures of the page")
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID (default: a free one)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # no node and no browser stays behind
    try:
        summary = drive(args)
    except HumanoidControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary, indent=1))
    return 0 if summary["outcome"] == SUCCESS and summary["verdict"] == "done" else 1


def drive(args: argparse.Namespace) -> dict:
    """Launches, drives and keeps; returns what became of it.

    Raises:
        HumanoidControlError: it could not be driven to its end.
    """
    prepare_environment()
    use_domain(args.domain)
    folder = args.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    file = find_factory_file(args.factory)
    factory = find_factory(str(file))
    if not factory.orders:
        raise ConfigurationError(f"{file} has no orders to carry out")
    arguments = ["teleop", f"factory:={file}", f"seed:={args.seed}", f"poses:={args.poses}", f"rate_factor:={args.rate}", f"record:={folder / EPISODES}", "page_port:=0"]
    with chromium() as browser, launched(arguments, log=folder / LOG) as nodes:
        url = page_url(nodes, folder / LOG, STARTS_WITHIN_S)
        page = open_with_headset(browser, url, NAME, rate=args.rate)
        try:
            summary = _carry_out(page, Person(factory, factory.orders[0]), _Pictures(browser, url, folder, not args.no_pictures))
        except DrivingError:
            page.page.screenshot(path=folder / "failed.png")
            raise
        card = _kept(page, folder / EPISODES / summary["episode"])
        page.close()
    summary |= {"factory": args.factory, "seed": args.seed, "poses": args.poses, "rate": args.rate, "outcome": card.outcome, "recorded_s": round(card.duration_s, 1),
                "verdict": next((event.text for event in reversed(card.events) if event.kind == VERDICT), "none")}  # fmt: skip
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    return summary


class _Pictures:
    """Pictures of the page as others who look at it have it."""

    def __init__(self, browser, url: str, folder: Path, are_wanted: bool) -> None:
        self._browser, self._url, self._folder, self._are_wanted = browser, url, folder, are_wanted

    def take(self, name: str, viewport: dict[str, int]) -> None:
        """Takes one."""
        if not self._are_wanted:
            return
        page = PageInBrowser(self._browser, self._url, "Bob", viewport=viewport)
        page.wait(lambda: page.images > 2 and page.status, "no image comes")
        page.page.wait_for_timeout(1000)  # until all is drawn
        page.page.screenshot(path=self._folder / f"{name}.jpg", quality=JPEG_QUALITY)
        page.close()


def _carry_out(page: PageInBrowser, person: Person, pictures: _Pictures) -> dict:
    page.wait(lambda: page.mode == "standing" and page.status["listeners"] > 0, "the robot does not stand", STARTS_WITHIN_S)
    page.take_control()
    page.page.select_option("#order", "0")
    page.press("[data-ask=start_episode]")
    page.wait(lambda: page.episode, "nothing is recorded")
    episode = page.episode
    page.wear_headset()
    stretches, doing, begin = [], "", time.monotonic()
    while not person.is_done:
        handling = person.act(page.next_sight())
        if person.doing != doing:
            doing = person.doing
            stretches.append([round(time.monotonic() - begin, 1), doing])
            print(f"{stretches[-1][0]:6.1f} s  {doing}", flush=True)
            if doing.startswith(HOLDS_TOTE):
                pictures.take("holding", DESKTOP)
                pictures.take("phone", PHONE)
        page.handle(handling)
        if page.mode == "stopped":
            raise DrivingError(f"the robot stopped: {page.banner}")
    driven_s = time.monotonic() - begin
    page.take_off_headset()
    page.page.wait_for_timeout(1000 * JUDGED_S)
    pictures.take("placed", DESKTOP)
    page.press("[data-outcome=success]")
    page.wait(lambda: not page.episode, "the episode does not end", PACKED_WITHIN_S)
    return {"episode": episode, "driven_s": round(driven_s, 1), "stretches": stretches, "images": page.images,
            "images_shown_after": page.images_shown_after, "stalls": len(page.stalls_s), "longest_stall_s": round(max(page.stalls_s, default=0.0), 2)}  # fmt: skip


def _kept(page: PageInBrowser, folder: Path) -> Card:
    """The card of the episode, once it is whole on the disk."""
    page.wait((folder / CARD).is_file, f"{folder} was not kept", PACKED_WITHIN_S)
    return Card.read(folder / CARD)


if __name__ == "__main__":
    sys.exit(main())
