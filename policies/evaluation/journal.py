"""The file a campaign grows in, a line an episode, so that a killed one loses nothing and can go on."""

from __future__ import annotations

import json
import os
from pathlib import Path

from humanoid_control.errors import ConfigurationError

_CAMPAIGN, _COMPLETE = "campaign", "complete"


class Journal:
    """Episodes' records, appended as they come.

    The first line says what was measured; records are only added to a file that agrees with it.
    """

    def __init__(self, path: Path, campaign: dict, *, resume: bool, key: str = "seed",
                 remedy: str = "start anew with another --json") -> None:  # fmt: skip
        """Opens the file, and reads what an earlier run left there.

        Args:
            path: of the file, JSON lines.
            campaign: what makes two runs comparable.
            resume: go on with what is there.
            key: of a record, unlike that of any other.
            remedy: what to do about a file of another campaign.

        Raises:
            ConfigurationError: if it cannot be written, belongs to another campaign, or holds an unfinished one that
                the user did not ask to resume.
        """
        self._path, self._key, self._remedy = path, key, remedy
        self.records: dict[int | str, dict] = {}
        try:
            lines = path.read_text().splitlines() if path.exists() else []
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
        rows = [row for row in map(_parsed, lines) if row is not None]
        is_complete = any(_COMPLETE in row for row in rows)
        records = {row[key]: row for row in rows if key in row}
        if resume and rows:
            self._check_same(rows[0].get(_CAMPAIGN), campaign)
            self.records = records
        elif records and not is_complete:
            raise ConfigurationError(f"{path} holds {len(records)} episodes of an unfinished campaign; go on with --resume, "
                                     "or delete it.")  # fmt: skip
        self._campaign = campaign
        self._rewrite(complete=False)
        self._file = path.open("a")

    def _check_same(self, before: dict | None, now: dict) -> None:
        for key, value in now.items():
            found = (before or {}).get(key)
            if found != value:
                raise ConfigurationError(f"{self._path} cannot be resumed: its {key} is {found}, not {value}; {self._remedy}.")

    def add(self, record: dict) -> None:
        """Appends a record; it is in the file when this returns.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self.records[record[self._key]] = record
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be written: {error.strerror}.") from None

    def close(self, *, complete: bool) -> None:
        """Puts the records in the order of their keys."""
        self._file.close()
        self._rewrite(complete=complete)

    def _rewrite(self, *, complete: bool) -> None:
        rows = [{_CAMPAIGN: self._campaign}, *(self.records[key] for key in sorted(self.records))]
        if complete:
            rows.append({_COMPLETE: True})
        write_whole(self._path, "".join(json.dumps(row) + "\n" for row in rows))


def write_whole(path: Path, text: str) -> None:
    """Writes a file in one go: whoever reads it finds the old text or the new one.

    Raises:
        ConfigurationError: if it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text)
        os.replace(beside, path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def _parsed(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None  # cut off in the middle, by whatever ended the run
    return row if isinstance(row, dict) else None


def make_folder(folder: Path) -> None:
    """Makes a folder, and those it lies in, unless it is there.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made: {error.strerror}.") from None
