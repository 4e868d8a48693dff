"""Download the wheels of requirements.lock for other systems than this one, for laptops without a network.

    python tools/bundle.py linux windows macos [--python 3.12]

Each system gets its own folder, wheels/SYSTEM, so that nobody has to copy what is not theirs. On a laptop of that
system and Python version, with a copy of it in DIR, `KDLAB_WHEELS=DIR make lab` installs without a network. Linux
wheels of torch are the CUDA build, 3 GB, unless KDLAB_TORCH_INDEX names a package index, or a folder, with a CPU
build; Windows and macOS have CPU builds anyway. Run it with the project's own Python, as make does:
`make bundle FOR="linux windows macos"`.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable

from packaging.requirements import Requirement
from setup_env import BUNDLE, CUDA, TORCH, SetupError, read_lock, source_options

#: What pip calls wheels that such a system takes, newest first, and what a requirement's marker reads there.
SYSTEMS = {
    "linux": (
        [f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)] + ["manylinux2014_x86_64"],
        {
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "os_name": "posix",
        },
    ),
    "windows": (
        ["win_amd64"],
        {
            "sys_platform": "win32",
            "platform_system": "Windows",
            "platform_machine": "AMD64",
            "os_name": "nt",
        },
    ),
    "macos": (
        [
            f"macosx_{major}_0_{kind}"
            for major in range(14, 10, -1)
            for kind in ("arm64", "universal2")
        ],
        {
            "sys_platform": "darwin",
            "platform_system": "Darwin",
            "platform_machine": "arm64",
            "os_name": "posix",
        },
    ),
}


def wanted(lines: Iterable[str], system: str, python: str) -> list[str]:
    """The requirements among ``lines`` that ``system`` with that ``python`` (such as 3.12) installs, without markers.

    pip reads a marker as of the machine that it runs on, whatever ``--platform`` says.
    """
    there = SYSTEMS[system][1] | {
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    found = map(Requirement, lines)
    return [f"{r.name}{r.specifier}" for r in found if r.marker is None or r.marker.evaluate(there)]


def plan(
    lines: Iterable[str], system: str, python: str, torch_index: str | None = None
) -> list[list[str]]:
    """The arguments of each ``pip download``: torch's from ``torch_index``, where it is given, and then no CUDA.

    Raises ``SetupError`` where that names neither a folder nor a URL.
    """
    tags = [word for tag in SYSTEMS[system][0] for word in ("--platform", tag)]
    usual = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--dest",
        os.path.join(BUNDLE, system),
        *tags,
    ]
    lines = wanted(lines, system, python)
    if not torch_index or system != "linux":
        return [[*usual, *lines]]
    own = [line for line in lines if TORCH.match(line)]
    return [
        [*usual, *source_options(torch_index), *own],
        [*usual, *(line for line in lines if line not in own and not CUDA.match(line))],
    ]


def main(arguments: list[str]) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help=", ".join(SYSTEMS)
    )
    parser.add_argument(
        "--python", default="{}.{}".format(*sys.version_info), help="default: this one's"
    )
    chosen = parser.parse_args(arguments)
    torch_index = os.environ.get("KDLAB_TORCH_INDEX")
    try:
        for system in chosen.systems:
            if system == "linux" and not torch_index:
                print(
                    "kdlab bundle: KDLAB_TORCH_INDEX is not set: Linux gets the CUDA build, 3 GB more",
                    flush=True,
                )
            for options in plan(read_lock(), system, chosen.python, torch_index):
                call = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                    *options,
                ]
                if subprocess.call(call, stdin=subprocess.DEVNULL):
                    raise SetupError(
                        f"no whole bundle for {system}: pip's own words stand above. Another Python than "
                        f"{chosen.python} may have the wheel that is missing: --python 3.12"
                    )
            sizes = [entry.stat().st_size for entry in os.scandir(os.path.join(BUNDLE, system))]
            print(
                f"kdlab bundle: {system}, Python {chosen.python}: {len(sizes)} wheels, {sum(sizes) / 1e9:.1f} GB, in "
                f"{os.path.join(BUNDLE, system)}"
            )
    except SetupError as error:
        print(f"kdlab bundle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
