"""The sessions that a gateway has, from its own files."""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path


def keys(gateway):
    """The keys of a gateway's sessions, from where the release keeps them: a file of JSON, or a database."""
    found = set()
    for file in (gateway.folder / "state").rglob("*"):
        if file.name == "sessions.json":
            found |= set(json.loads(file.read_text()))
        elif file.suffix in (".sqlite", ".db"):
            found |= _keys(file)
    return found


def _keys(file):
    """What stands in the columns of a database that are called by a session's key. The gateway locks its own."""
    with tempfile.TemporaryDirectory() as folder:
        for part in (file, file.with_name(f"{file.name}-wal")):
            if part.exists():
                shutil.copy(part, folder)
        return _columns(Path(folder) / file.name)


def _columns(file):
    found = set()
    with contextlib.closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = [column[1] for column in database.execute(f'pragma table_info("{table}")')]
            for column in (column for column in columns if column in ("session_key", "sessionKey", "key")):
                rows = database.execute(f'select distinct "{column}" from "{table}"')
                found |= {value for (value,) in rows if isinstance(value, str)}
    return found
