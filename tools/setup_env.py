"""Make the project's virtual environment from ``requirements.lock``; do nothing when it is there already.

    python tools/setup_env.py            make .venv, or bring it up to date (what `make test` and its like do first)
    python tools/setup_env.py --bundle   download every wheel of the lock for this platform into wheels/

Two environment variables change where packages come from:

    KDLAB_TORCH_INDEX   URL of a package index, or a folder of wheels, with a CPU build of torch and torchvision.
                        The lock's CUDA packages (Linux only) are then left out.
    KDLAB_WHEELS        a folder made by --bundle: everything is installed from it, without a network.

Only the standard library is used, and syntax that an old Python can parse, so that it can say that it is too old.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
BUNDLE = os.path.join(ROOT, "wheels")
LOCK = os.path.join(ROOT, "requirements.lock")
MINIMUM = (3, 11)

# The stamp is written under the first name when set-up begins and renamed to the second when it has ended: whatever
# stops it in between (Ctrl-C, a kill, a full disk) leaves the first, and the next run begins afresh. The stamp also
# tells whether this script made the environment: one that a person made is filled, and never deleted.
BEGUN = os.path.join(VENV, "kdlab-setup-begun.json")
READY = os.path.join(VENV, "kdlab-setup-ready.json")

TORCH = re.compile(r"(torch|torchvision)==")
CUDA = re.compile(r"(nvidia-|cuda-|triton)")
DRIVER = "/proc/driver/nvidia/version"


class SetupError(Exception):
    """Something that a person can mend; the message says how."""


def check_python(version=sys.version_info):
    """Raise ``SetupError`` where this Python is too old or cannot make virtual environments."""
    if tuple(version[:2]) < MINIMUM:
        raise SetupError(
            f"kdlab needs Python {MINIMUM[0]}.{MINIMUM[1]} or newer, and this is {version[0]}.{version[1]} "
            f"({sys.executable}). Name a newer one, as in `make test PYTHON=python3.12`."
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            f"this Python ({sys.executable}) cannot make virtual environments: its `venv` module is missing. "
            "On Debian and Ubuntu `apt install python3-venv` brings it."
        ) from None


def venv_python():
    """Path of the interpreter inside the virtual environment."""
    inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(VENV, *inside)


def read_lock():
    """The requirement lines of the lock, comments left out."""
    with open(LOCK, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def source_options(place):
    """pip's options for taking packages from ``place`` alone: a folder of wheels, or the URL of an index."""
    if os.path.isdir(place):
        return ["--no-index", "--find-links", os.path.abspath(place)]
    if "://" in place:
        return ["--index-url", place]
    raise SetupError(
        f"'{place}' is neither a folder of wheels nor the URL of an index; mend KDLAB_TORCH_INDEX."
    )


def requirement_sets(lines, torch_index=None, wheels=None):
    """What to install from where: a list of (pip options, requirement lines).

    The lock is complete, so nothing is ever resolved (``--no-deps``), and nothing is compiled on the user's machine.
    """
    options = ["--no-deps", "--only-binary", ":all:"]
    if wheels and not os.path.isdir(wheels):
        raise SetupError(
            f"KDLAB_WHEELS names '{wheels}', which is not a folder; `make bundle` makes one."
        )
    usual = options + (["--no-index", "--find-links", os.path.abspath(wheels)] if wheels else [])
    if not torch_index:
        return [(usual, lines)]
    # A CPU build calls itself 2.14.1+cpu, which satisfies the lock's ==2.14.1.
    return [
        (options + source_options(torch_index), [line for line in lines if TORCH.match(line)]),
        (usual, [line for line in lines if not TORCH.match(line) and not CUDA.match(line)]),
    ]


def cost_of_cuda(sets):
    """What to say before the CUDA build is installed on a Linux machine without an NVIDIA GPU; elsewhere nothing."""
    cuda = any(CUDA.match(line) for _, lines in sets for line in lines)
    # The driver makes the file; WSL, where it is Windows' own, brings the program.
    if (
        not cuda
        or not sys.platform.startswith("linux")
        or os.path.exists(DRIVER)
        or shutil.which("nvidia-smi")
    ):
        return ""
    return (
        "kdlab set-up: no NVIDIA GPU is seen here, and the CUDA build takes 6.6 GB of disk, of which CUDA has 4.5. For "
        "the CPU build stop this (Ctrl-C) and set KDLAB_TORCH_INDEX to the CPU index of PyTorch's own install page, or "
        "to a folder with the CPU wheels of torch and torchvision; then run the same command again."
    )


def pip(command, options, lines=()):
    """Run one pip command of the virtual environment; ``lines`` go in as a requirements file."""
    call = [
        venv_python(),
        "-m",
        "pip",
        command,
        "--no-input",
        "--disable-pip-version-check",
    ] + options
    if not sys.stdout.isatty():
        call.append("--quiet")
    if lines:
        listed = os.path.join(VENV, "kdlab-requirements.txt")
        with open(listed, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        call += ["-r", listed]
    if subprocess.call(call, cwd=ROOT, stdin=subprocess.DEVNULL):
        raise SetupError(
            f"`pip {command}` failed; its own words stand above. Without a network, set KDLAB_WHEELS to a folder made "
            "by `make bundle`; 'no matching distribution' can mean that another Python (3.11 to 3.14) is needed."
        )


def check(torch_index=None):
    """Raise ``SetupError`` where installed packages do not fit each other; a CUDA torch from ``torch_index``, which is
    to have a CPU one, is named as the cause.

    Newer pips also compare the platform that a wheel notes inside, which decord's notes wrongly, with this one: that is
    no fault of an installation, for which pip has chosen the wheels by their names.
    """
    call = [venv_python(), "-m", "pip", "check", "--no-input", "--disable-pip-version-check"]
    said = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    faults = [
        line
        for line in said.stdout.splitlines()
        if not line.endswith("is not supported on this platform")
    ]
    if said.returncode and (faults or not said.stdout.strip()):
        mend = ""
        if torch_index and any(CUDA.match(line.partition(" requires ")[2]) for line in faults):
            mend = "\nThe torch in KDLAB_TORCH_INDEX is built for CUDA: name one with a CPU build there, or unset it."
        raise SetupError(
            "`pip check` failed; it says:\n" + ("\n".join(faults) or "what stands above") + mend
        )


def inputs():
    """One hash of what an environment is made from."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read_stamp(path):
    """The stamp (inputs, torch_index, own) under this name, or an empty one."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def starts(python):
    """Does this interpreter start, and is it new enough?"""
    call = [python, "-c", f"import sys; sys.exit(sys.version_info < {MINIMUM})"]
    try:
        return subprocess.call(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def set_up(torch_index=None, wheels=None):
    """Make the environment, or bring it up to date. Return ``False`` when there was nothing to do."""
    ready, begun = read_stamp(READY), read_stamp(BEGUN)
    # A CPU torch once chosen stays chosen when a later shell has not set the variable.
    torch_index = torch_index or ready.get("torch_index")
    other_torch = bool(ready) and ready["torch_index"] != torch_index
    if ready.get("inputs") == inputs() and not other_torch and os.path.exists(venv_python()):
        return False
    check_python()
    sets = requirement_sets(read_lock(), torch_index, wheels)

    own = not os.path.exists(VENV) or (ready or begun).get("own", False)
    usable = starts(venv_python()) and not other_torch
    if own and (begun or not usable):
        shutil.rmtree(VENV, ignore_errors=True)
        print(f"kdlab set-up: making .venv with {sys.executable}", flush=True)
        make_venv = [sys.executable, "-m", "venv", VENV]
    elif usable:
        make_venv = [venv_python(), "-m", "ensurepip"]
    else:
        raise SetupError(
            f"{VENV} was not made by this script, and its Python does not start, is too old, or has another torch than "
            "KDLAB_TORCH_INDEX asks for: remove that folder, and run the same command again."
        )
    os.makedirs(VENV, exist_ok=True)
    with open(BEGUN, "w", encoding="utf-8") as file:
        json.dump({"inputs": inputs(), "torch_index": torch_index, "own": own}, file)
    if os.path.exists(READY):
        os.remove(READY)
    if subprocess.call(make_venv, stdout=subprocess.DEVNULL):
        raise SetupError(f"`{' '.join(make_venv)}` failed; its own words stand above.")

    advice = "" if ready else cost_of_cuda(sets)  # what is installed already has been paid
    if advice:
        print(advice, flush=True)
    count = sum(len(lines) for _, lines in sets)
    print(f"kdlab set-up: installing up to {count} packages; this happens once", flush=True)
    for options, lines in sets:
        pip("install", options, lines)
    # The build backend is in the lock, so this needs no index either.
    pip("install", ["--no-deps", "--no-build-isolation", "--no-index", "-e", "."])
    check(torch_index)
    if own:
        quiet_lab()
    os.replace(BEGUN, READY)
    return True


def quiet_lab():
    """JupyterLab of this environment does not ask whether it may fetch news: a class has no network, and other work."""
    place = os.path.join(VENV, "share", "jupyter", "lab", "settings")
    os.makedirs(place, exist_ok=True)
    with open(os.path.join(place, "overrides.json"), "w", encoding="utf-8") as file:
        json.dump({"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}, file)


def bundle(torch_index=None):
    """Download the wheels that ``set_up`` would install on this machine into ``wheels/``."""
    os.makedirs(BUNDLE, exist_ok=True)
    for options, lines in requirement_sets(read_lock(), torch_index):
        pip("download", options + ["--dest", BUNDLE], lines)
    sizes = [entry.stat().st_size for entry in os.scandir(BUNDLE)]
    print(f"kdlab set-up: {len(sizes)} wheels, {sum(sizes) / 1e9:.1f} GB, in {BUNDLE}")
    again = "KDLAB_WHEELS=DIR KDLAB_TORCH_INDEX=DIR" if torch_index else "KDLAB_WHEELS=DIR"
    print(
        "On a machine of the same system and Python version, with a copy of that folder in DIR:\n"
        f"  {again} make test"
    )


def main(arguments):
    """Entry point; returns the exit code."""
    torch_index, wheels = os.environ.get("KDLAB_TORCH_INDEX"), os.environ.get("KDLAB_WHEELS")
    if arguments not in ([], ["--bundle"]):
        print(__doc__)
        return 2
    try:
        if set_up(torch_index, wheels):
            print("kdlab set-up: done", flush=True)
        if arguments:
            bundle(read_stamp(READY)["torch_index"])
    except SetupError as error:
        print(f"kdlab set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nkdlab set-up: stopped; the same command begins afresh (downloads are kept).",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
