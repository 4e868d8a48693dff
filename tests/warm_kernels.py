"""Kernels for the notebooks of `make test`, forked from one process that has imported other people's packages: a kernel
of its own imports them for five seconds, fifteen times. kdlab itself each kernel still imports anew."""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

#: Not OpenCV, for which kdlab sets a variable first. An optimiser's first step imports torch._dynamo.
PACKAGES = ("ipykernel.kernelapp", "torch._dynamo", "torchvision", "lightning_fabric", "pandas", "scipy.stats", "av",
            "seaborn", "ipywidgets")


class Kernel(psutil.Process):
    """A forked kernel, as far as jupyter_client asks a ``Popen``."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return None if self.is_running() else 0

    def send_signal(self, number: int) -> None:
        with suppress(psutil.NoSuchProcess):
            super().send_signal(number)


class Server:
    """The process from which kernels are forked, begun with the first."""

    process = None

    def launch(self, cmd, env=None, cwd=None, **_) -> Kernel:
        """What ``jupyter_client.launcher.launch_kernel`` does; what a kernel prints past its notebook is lost."""
        if self.process is None:
            self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            text=True)
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        print(json.dumps([arguments, dict(env or os.environ), str(cwd)]), file=self.process.stdin, flush=True)
        return Kernel(int(self.process.stdout.readline()))

    def end(self) -> None:
        """End the process, after all kernels."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def configure(config):
    """Notebooks as tests get such kernels, where a process of several packages can be forked."""
    if sys.platform != "linux" or not getattr(config.option, "nbval_lax", False):
        return
    from jupyter_client.provisioning import local_provisioner
    from nbval import kernel

    server, start = Server(), kernel.start_new_kernel

    def forked(*given, **how):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local_provisioner, "launch_kernel", server.launch)
            return start(*given, **how)

    kernel.start_new_kernel = forked
    config.add_cleanup(server.end)


def serve() -> None:
    """Fork a kernel for each line of stdin, and say its number."""
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # matplotlib asks once
    for name in PACKAGES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, collect)
    for line in sys.stdin:
        if os.fork() == 0:
            become(*json.loads(line))


def collect(*_) -> None:
    """Let go of kernels that have ended: else they would seem to be there still."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def become(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be a kernel from here on, in a process group of its own."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    print(os.getpid(), flush=True)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder)
    from ipykernel import kernelapp

    kernelapp.launch_new_instance(arguments)
    sys.exit()


if __name__ == "__main__":
    serve()
