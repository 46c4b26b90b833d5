"""Builds interface packages (msg, srv, action) into an environment that got ROS 2 from wheels.

A normal ROS 2 installation does this with colcon, CMake and ament. The wheels bring the same generators; this module
calls them and gcc, and installs what comes out where ament_cmake would have.

usage: python -m humanoid_control.ros.interface_builder FOLDER...
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from humanoid_control.errors import HumanoidControlError
from humanoid_control.ros.environment import is_installed_from_wheels, prepare_environment

KINDS = ("msg", "srv", "action")
TYPESUPPORTS = ("rosidl_typesupport_c", "rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")

# What generated code for actions and services includes, whether package.xml names it or not.
_IMPLIED_DEPENDENCIES = {"builtin_interfaces", "service_msgs", "action_msgs", "unique_identifier_msgs"}
_DEPENDENCY_TAGS = ("depend", "build_depend", "build_export_depend", "exec_depend")


class InterfaceBuildError(HumanoidControlError):
    """An interface package cannot be built here; the text says why and what to do."""


@dataclass(frozen=True)
class InterfacePackage:
    """The source of an interface package.

    Attributes:
        name: as package.xml has it.
        folder: where package.xml lies.
        interfaces: the definition files, relative to the folder, such as `msg/Order.msg`.
        dependencies: names in package.xml, of interface packages and others.
    """

    name: str
    folder: Path
    interfaces: tuple[str, ...]
    dependencies: frozenset[str]


@dataclass(frozen=True)
class _GeneratedCode:
    """Folders of generated sources, and what comes along with them.

    `introspection` is apart because its `*__type_support.c` bear the names of the generator's own.
    """

    idl: Path
    types: Path
    code: Path
    introspection: Path
    python: Path


def read_package(folder: Path) -> InterfacePackage:
    """The interface package in a folder.

    Raises:
        InterfaceBuildError: it is none.
    """
    manifest = folder / "package.xml"
    if not manifest.is_file():
        raise InterfaceBuildError(f"{folder} holds no package.xml: it is no interface package")
    name, dependencies = _read_manifest(manifest)
    interfaces = sorted(str(file.relative_to(folder)) for kind in KINDS for file in (folder / kind).glob(f"*.{kind}"))
    if not interfaces:
        raise InterfaceBuildError(f"{folder} holds no msg/*.msg, srv/*.srv or action/*.action")
    return InterfacePackage(name, folder, tuple(interfaces), frozenset(dependencies))


def build(folder: Path, prefix: Path = Path(sys.prefix)) -> bool:
    """Builds and installs the package in `folder`, unless the same source is installed already.

    Args:
        folder: the package's source.
        prefix: where it is installed; ROS finds it only in an ament prefix, such as this environment.

    Returns:
        Whether anything was built.

    Raises:
        InterfaceBuildError: the environment lacks the generators, a compiler or a dependency, or the source is wrong.
    """
    package = read_package(folder)
    if not is_installed_from_wheels():
        raise InterfaceBuildError(f"this Python has no ROS 2 wheels, so {package.name} is built by: colcon build")
    prepare_environment()
    stamp = prefix / "share" / package.name / "built_from"
    digest = _hash_inputs(package)
    if stamp.is_file() and stamp.read_text() == digest:
        return False
    dependencies = _find_dependencies(package)
    with tempfile.TemporaryDirectory(prefix=f"{package.name}_") as build_folder:
        generated = _generate(package, dependencies, Path(build_folder))
        _Compiler(package.name, dependencies, generated, prefix).build()
        _install_share(package, generated, prefix)
    stamp.write_text(digest)
    return True


def _read_manifest(manifest: Path) -> tuple[str, set[str]]:
    try:
        root = ElementTree.parse(manifest).getroot()
    except ElementTree.ParseError as error:
        raise InterfaceBuildError(f"{manifest} is no XML: {error}") from None
    return root.findtext("name", ""), {element.text or "" for tag in _DEPENDENCY_TAGS for element in root.findall(tag)}


def _hash_inputs(package: InterfacePackage) -> str:
    """Changes whenever building anew could give another result."""
    from importlib.metadata import version

    digest = hashlib.sha256(f"{sys.version} {version('ros-rclpy')} {version('numpy')}".encode())
    for file in (
        Path(__file__),
        package.folder / "package.xml",
        *(package.folder / name for name in package.interfaces),
    ):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _find_dependencies(package: InterfacePackage) -> dict[str, Path]:
    """Every interface package that this one needs, itself or through another, and its prefix."""
    from ament_index_python import get_package_prefix, get_resources

    known = get_resources("rosidl_interfaces")
    unknown = sorted(name for name in package.dependencies - known.keys() if name.endswith(("_msgs", "_interfaces")))
    if unknown:
        raise InterfaceBuildError(
            f"{package.name} depends on {', '.join(unknown)}, which is not installed here; build it before this one"
        )
    found: dict[str, Path] = {}
    todo = (package.dependencies | _IMPLIED_DEPENDENCIES) & known.keys()
    while todo:
        name = todo.pop()
        found[name] = Path(get_package_prefix(name))
        _, further = _read_manifest(found[name] / "share" / name / "package.xml")
        todo |= (further & known.keys()) - found.keys()
    return dict(sorted(found.items()))


def _generate(package: InterfacePackage, dependencies: dict[str, Path], folder: Path) -> _GeneratedCode:
    """Runs the wheels' generators: definitions to IDL and type hashes, these to C, C++ and Python."""
    # rosidl_cli finds its extensions by entry points, each of them twice in the wheels, and some of those import
    # packages that the wheels do not bring: call what they lead to instead.
    from rosidl_adapter.action import convert_action_to_idl
    from rosidl_adapter.msg import convert_msg_to_idl
    from rosidl_adapter.srv import convert_srv_to_idl
    from rosidl_generator_c.cli import GenerateC
    from rosidl_generator_py.cli import GeneratePython
    from rosidl_generator_type_description.cli import HashTypeDescription
    from rosidl_typesupport_c.cli import GenerateCTypesupport
    from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
    from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport

    # The last part is the package's name: it is what generated code includes and imports by.
    generated = _GeneratedCode(*(folder / part / package.name for part in ("idl", "types", "c", "introspection", "py")))
    for path in (generated.idl, generated.types):
        path.mkdir(parents=True)
    include_paths = [str(prefix / "share" / name) for name, prefix in dependencies.items()]
    idl_files = [f"{generated.idl}:{Path(name).with_suffix('.idl')}" for name in package.interfaces]
    common = {"package_name": package.name, "interface_files": idl_files, "include_paths": include_paths}
    converters = {".msg": convert_msg_to_idl, ".srv": convert_srv_to_idl, ".action": convert_action_to_idl}
    printed = io.StringIO()  # they print which file they read, and at an error which line of it
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
            for name in map(Path, package.interfaces):
                converters[name.suffix](package.folder, package.name, name, generated.idl / name.parent)
        hashes = HashTypeDescription("hashes").generate_type_hashes(output_path=generated.types, **common)
        GenerateC("c").generate(output_path=generated.code, type_description_files=hashes, **common)
        GenerateFastRTPSCTypesupport("fastrtps_c").generate(output_path=generated.code, **common)
        GenerateCTypesupport("typesupport_c", typesupport_implementations=list(TYPESUPPORTS[1:])).generate(
            output_path=generated.code, **common
        )
        GenerateIntrospectionCTypesupport("introspection_c").generate(output_path=generated.introspection, **common)
        GeneratePython("py", typesupport_implementations=list(TYPESUPPORTS)).generate(
            output_path=generated.python, **common
        )
    except Exception as error:  # the generators raise anything from their parsers' errors to KeyError
        reason = " ".join((printed.getvalue() or str(error) or type(error).__name__).split())
        raise InterfaceBuildError(f"{package.name}: the generators refuse its definitions: {reason}") from error
    return generated


class _Compiler:
    """Turns generated sources into the libraries that rclpy loads."""

    def __init__(self, name: str, dependencies: dict[str, Path], generated: _GeneratedCode, prefix: Path) -> None:
        import numpy
        from ament_index_python import get_package_prefix

        self._name = name
        self._dependencies = tuple(dependencies)
        self._generated = generated
        self._libraries = prefix / "lib"
        self._package = prefix / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages" / name
        ros = Path(get_package_prefix("rclpy"))
        self._includes = [
            generated.code.parent,
            generated.introspection.parent,
            sysconfig.get_path("include"),
            numpy.get_include(),
            *sorted(path for path in (ros / "include").iterdir() if path.is_dir()),
            *(root / "include" / dependency for dependency, root in dependencies.items()),
            ros / "include",
        ]  # Fast CDR's headers lie there directly
        self._library_paths = [self._libraries, *(root / "lib" for root in sorted({ros, *dependencies.values()}))]

    def build(self) -> None:
        """Compiles everything and puts the libraries and the Python package in place."""
        code, introspection, python = self._generated.code, self._generated.introspection, self._generated.python
        cpp = sorted(code.rglob("*.cpp"))
        entry_points = {typesupport: python / f"_{self._name}_s.ep.{typesupport}.c" for typesupport in TYPESUPPORTS}
        sources = {
            "rosidl_generator_c": sorted(code.rglob("*.c")),
            "rosidl_typesupport_fastrtps_c": [file for file in cpp if file.name.endswith("__type_support_c.cpp")],
            "rosidl_typesupport_introspection_c": sorted(introspection.rglob("*.c")),
            "rosidl_typesupport_c": [file for file in cpp if not file.name.endswith("__type_support_c.cpp")],
            "rosidl_generator_py": sorted(python.rglob("*_s.c")),
        }
        objects = self._compile([*(file for files in sources.values() for file in files), *entry_points.values()])
        self._libraries.mkdir(parents=True, exist_ok=True)
        for library, files in sources.items():
            self._link(
                self._libraries / f"lib{self._name}__{library}.so",
                [objects[file] for file in files],
                self._needed_by(library),
            )
        self._install_python()
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        for typesupport, file in entry_points.items():
            self._link(
                self._package / f"{self._name}_s__{typesupport}{suffix}",
                [objects[file]],
                [
                    f"{self._name}__rosidl_generator_py",
                    f"{self._name}__{typesupport}",
                    f"{self._name}__rosidl_generator_c",
                    "rosidl_runtime_c",
                    "rmw",
                ],
            )

    def _needed_by(self, library: str) -> list[str]:
        """The libraries that one of ours is linked against: our own, the dependencies' like it, the runtime."""
        own = {
            "rosidl_generator_c": [],
            "rosidl_generator_py": ["rosidl_generator_c", "rosidl_typesupport_c"],
        }.get(library, ["rosidl_generator_c"])
        runtime = {
            "rosidl_typesupport_fastrtps_c": [library, "rosidl_typesupport_fastrtps_cpp", "fastcdr", "rmw"],
            "rosidl_typesupport_introspection_c": [library],
            "rosidl_typesupport_c": [library],
        }.get(library, [])
        return [
            *(f"{self._name}__{name}" for name in own),
            *(f"{name}__{library}" for name in self._dependencies),
            *runtime,
            "rosidl_runtime_c",
            "rcutils",
        ]

    def _compile(self, files: Sequence[Path]) -> dict[Path, str]:
        """One object file for each source, compiled on all cores."""
        folder = self._generated.code.parent.parent / "objects"
        folder.mkdir()
        defines = [
            f"-D{macro}_BUILDING_DLL_{self._name}"
            for macro in ("ROSIDL_GENERATOR_C", "ROSIDL_TYPESUPPORT_FASTRTPS_C", "ROSIDL_TYPESUPPORT_INTROSPECTION_C")
        ]
        options = [
            "-O1",
            "-fPIC",
            "-w",
            *defines,
            f'-DROS_PACKAGE_NAME="{self._name}"',
            *(f"-I{path}" for path in self._includes),
            "-c",
        ]

        def compile_one(numbered: tuple[int, Path]) -> str:
            number, file = numbered
            result = str(folder / f"{number}.o")
            compiler = ("g++", "-std=c++17") if file.suffix == ".cpp" else ("gcc", "-std=c11")
            _run([*compiler, *options, str(file), "-o", result])
            return result

        with ThreadPoolExecutor(os.cpu_count()) as executor:
            return dict(zip(files, executor.map(compile_one, enumerate(files))))

    def _link(self, target: Path, objects: Iterable[str], libraries: Iterable[str]) -> None:
        # Linked beside its place and moved there: running processes keep the file they have mapped.
        fresh = target.with_name(f".{target.name}.new")
        _run(
            [
                "g++",
                "-shared",
                "-o",
                str(fresh),
                *objects,
                *(f"-L{path}" for path in self._library_paths),
                "-Wl,-rpath,$ORIGIN:$ORIGIN/../../..",
                "-Wl,--allow-shlib-undefined",
                *(f"-l{name}" for name in libraries),
            ]
        )
        fresh.replace(target)

    def _install_python(self) -> None:
        shutil.rmtree(self._package, ignore_errors=True)
        shutil.copytree(self._generated.python, self._package, ignore=shutil.ignore_patterns("*.c", "tmp"))


def _run(command: Sequence[str]) -> None:
    """Runs a compiler.

    Raises:
        InterfaceBuildError: with the first error it printed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InterfaceBuildError(
            f"{command[0]} is missing; run: sudo apt-get update && sudo apt-get install gcc g++"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        first = next(
            (line for line in lines if "error" in line or "cannot" in line), lines[0] if lines else "no output"
        )
        raise InterfaceBuildError(f"{command[0]} failed (exit {done.returncode}): {first}")


def _install_share(package: InterfacePackage, generated: _GeneratedCode, prefix: Path) -> None:
    """Installs definitions and type descriptions, and registers the package with ament."""
    share = prefix / "share" / package.name
    shutil.rmtree(share, ignore_errors=True)
    for name in map(Path, package.interfaces):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package.folder / name, share / name)
        shutil.copy(generated.idl / name.with_suffix(".idl"), share / name.with_suffix(".idl"))
        shutil.copy(generated.types / name.with_suffix(".json"), share / name.with_suffix(".json"))
    shutil.copy(package.folder / "package.xml", share)
    index = prefix / "share/ament_index/resource_index"
    listing = sorted(file for name in package.interfaces for file in (name, str(Path(name).with_suffix(".idl"))))
    for resource, text in (("packages", ""), ("rosidl_interfaces", "\n".join(listing))):
        (index / resource).mkdir(parents=True, exist_ok=True)
        (index / resource / package.name).write_text(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the packages in the given folders, in that order."""
    folders = sys.argv[1:] if arguments is None else list(arguments)
    if not folders:
        print("usage: python -m humanoid_control.ros.interface_builder FOLDER...", file=sys.stderr)
        return 2
    try:
        for folder in map(Path, folders):
            print(f"interfaces: {folder.name} ...", end=" ", flush=True)
            print("built" if build(folder.resolve()) else "unchanged")
    except HumanoidControlError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
