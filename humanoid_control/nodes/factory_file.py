"""Which factory a node works in."""

from __future__ import annotations

from pathlib import Path

from humanoid_control.errors import FactoryError
from humanoid_control.installation import share_folder
from humanoid_control.mission.factory import Factory, load_factory

DESCRIPTION = "factory file, or the name of one in config/factories"


def find_factory_file(name: str) -> Path:
    """The file at a path, or of a name in config/factories.

    Raises:
        FactoryError: there is none; the text has the names that are known.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    folder = share_folder() / "config" / "factories"
    if path.name == name:
        known = folder / f"{name.removesuffix('.yaml')}.yaml"
        if known.is_file():
            return known
    names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise FactoryError(f"no factory file '{name}'; give the path of one, or one of: {names}")


def find_factory(name: str) -> Factory:
    """The factory of `find_factory_file`, loaded and checked.

    Raises:
        FactoryError: there is no such file, or it is wrong.
    """
    return load_factory(find_factory_file(name))
