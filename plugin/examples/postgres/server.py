"""A PostgreSQL server with pgvector for the example, from the PyPI package pgserver, in a folder that vanishes with it.

pgserver's own `get_server` makes a user on the machine where root runs it, since PostgreSQL does not run as root. Here the user nobody,
which is there already, runs its programs.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOBODY = 65534


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Starts a server, and gives the URL of its database. It listens on a socket in its folder alone."""
    found = find_spec("pgserver")
    assert found and found.origin
    programs = Path(found.origin).parent / "pginstall" / "bin"
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="quarry-postgres-") as folder:
        if user:
            os.chown(folder, NOBODY, NOBODY)

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        run("pg_ctl", "start", "--wait", f"--log={folder}/log", "--options", f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=fast")
