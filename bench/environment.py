"""Where a benchmark finds its tools: the target directory, virtual environments, the machine."""

import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def target_directory():
    """Cargo's target directory."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")).resolve()


def python_with(requirements, name):
    """The interpreter of a virtual environment below the target directory, made if need be."""
    environment = target_directory() / "bench" / name
    python = environment / "bin" / "python"
    installed = environment / "installed.txt"
    wanted = f"{platform.python_version()}\n{requirements.read_text()}"
    if not installed.is_file() or installed.read_text() != wanted:
        print(f"installing {' '.join(requirements.read_text().split())} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", requirements], check=True)
        installed.write_text(wanted)
    return python


def machine():
    """The machine in a few words."""
    model = ""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    flags = pathlib.Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    vectors = next((name for name in ("avx512bw", "avx2", "sse4_2") if name in flags), "no SIMD known")
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.machine()}, {os.cpu_count()} CPUs ({model}, {vectors}), {gibibytes:.0f} GiB"


def peak_kibibytes(process):
    """The most that a process ever had resident since its program began."""
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
