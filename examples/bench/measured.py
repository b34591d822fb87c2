"""The machine-readable output of the benchmarks: figures, and the circumstances in which they were measured."""

import datetime, json, os, platform, subprocess, tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def first_line(*command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0]


def processor():
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def circumstances():
    """To be asked for when the measurement begins: the load is that of others then."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "directory": tempfile.gettempdir(),
        "load": round(os.getloadavg()[0], 2),
        "commit": first_line("git", "rev-parse", "--short", "HEAD"),
        "rustc": first_line("rustc", "--version"),
    }


def save(path, circumstances, **figures):
    with open(path, "w") as file:
        json.dump({"measured": circumstances, **figures}, file, indent=1)
        file.write("\n")
