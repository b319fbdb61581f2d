"""Nothing of the package needs Linux: it can't be run on other systems here, so what they lack is looked for."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for name in ("ich_mlflow", "entrypoints") for path in (ROOT / name).rglob("*.py"))
UNIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "select", "syslog", "termios", "tty"}
_UNIX_NAMES = {
    "os": (
        "O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_TMPFILE WEXITSTATUS WIFSIGNALED WNOHANG chown chroot fchmod fchown fork "
        "forkpty getegid geteuid getgid getloadavg getpgid getpgrp getpriority getsid getuid initgroups killpg lchown "
        "major memfd_create mkfifo mknod nice openpty pipe2 posix_fadvise posix_fallocate posix_spawn pread preadv "
        "process_cpu_count pwrite pwritev register_at_fork sched_getaffinity sched_setaffinity sendfile setgid setpgid "
        "setpriority setsid setuid statvfs symlink sync sysconf uname wait waitid waitpid"
    ),
    "signal": (
        "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm pause "
        "pthread_kill pthread_sigmask setitimer sigwait"
    ),
    "socket": "AF_UNIX socketpair send_fds recv_fds",
    "time": "clock_gettime tzset pthread_getcpuclockid",
}
UNIX_NAMES = {module: set(names.split()) for module, names in _UNIX_NAMES.items()}
#: Guarded where they stand: file, name.
GUARDED = {
    ("compute.py", "resource"),
    ("decoder_process.py", "resource"),
    ("decoder_process.py", "/proc/self/statm"),
    ("decoders.py", "sysconf"),
    ("decoders.py", "/proc/"),
    ("lock.py", "/proc/self/ns/pid"),
    ("killed.py", "/proc/self/ns/pid"),
    ("lock.py", "/proc/sys/kernel/random/boot_id"),
}
#: What a path of Unix alone begins with.
UNIX_PATHS = ("/proc/", "/dev/", "/sys/", "/tmp/", "/var/", "/etc/")


def unix_only(tree: ast.AST) -> set[str]:
    """The names in a module that Windows lacks, files opened as text in the system's own encoding, and paths."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & UNIX_MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & UNIX_MODULES
            found |= {alias.name for alias in node.names} & UNIX_NAMES.get(node.module or "", set())
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.attr in UNIX_NAMES.get(node.value.id, set()):
                found.add(node.attr)
            if node.attr in ("symlink_to", "hardlink_to"):
                found.add(node.attr)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith(UNIX_PATHS)
        ):
            found.add(node.value)
        elif isinstance(node, ast.Call):
            found |= _opened_without_encoding(node)
    return found


def _opened_without_encoding(call: ast.Call) -> set[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        is_text = isinstance(call.func, ast.Attribute)  # of a path; whole.write_text is UTF-8 by itself
        values = len(call.args) - (name == "write_text")
        return {name} if is_text and "encoding" not in named and values < 1 else set()
    if name == "open" and isinstance(call.func, ast.Name):
        mode = named.get("mode", call.args[1] if len(call.args) > 1 else ast.Constant("r"))
        is_binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
        return {"open"} if not is_binary and "encoding" not in named else set()
    return set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_nothing_that_unix_alone_has(path):
    found = unix_only(ast.parse(path.read_text(encoding="utf-8")))
    assert {name for name in found if (path.name, name) not in GUARDED} == set()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import fcntl", {"fcntl"}),
        ("from resource import getrusage", {"resource"}),
        ("import os\nos.sched_getaffinity(0)", {"sched_getaffinity"}),
        ("from signal import SIGKILL", {"SIGKILL"}),
        ("open('/proc/meminfo', 'rb')", {"/proc/meminfo"}),
        ("path.read_text()", {"read_text"}),
        ("path.write_text(text)", {"write_text"}),
        ("open(path)", {"open"}),
        ("open(path, 'rb')\nopen(path, encoding='utf-8')\nwrite_text(path, text)\nos.getpid()", set()),
    ],
)
def test_what_unix_alone_has_is_found(code, found):
    assert unix_only(ast.parse(code)) == found
