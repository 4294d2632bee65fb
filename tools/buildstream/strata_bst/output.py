# SPDX-License-Identifier: Apache-2.0
"""What commands in a sandbox write: recorded, and repeated. In a build that goes to the job's log, in a shell to the
caller's standard output and error.
"""

import contextlib
import os
import sys
import tempfile


class Recorded:
    texts = ()  # of the log; or of standard output and error


@contextlib.contextmanager
def recorded(sandbox):
    """Sets `texts` of what it yields in the end. Everything is written where it belongs, too."""
    log, _ = sandbox._get_output()
    result = Recorded()
    if log:
        log.flush()
        start = os.fstat(log.fileno()).st_size
        yield result
        with open(log.name, "rb") as file:
            file.seek(start)
            result.texts = [_text(file.read())]
        return
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sandbox._Sandbox__stdout, sandbox._Sandbox__stderr = out, err
        try:
            yield result
        finally:
            sandbox._Sandbox__stdout = sandbox._Sandbox__stderr = None
            result.texts = [_text(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)) for file in (out, err)]
            repeat(sandbox, result.texts)


def repeat(sandbox, texts):
    log, _ = sandbox._get_output()
    for stream, text in zip((log, log) if log else (sys.stdout, sys.stderr), texts):
        stream.flush()
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(stream.fileno(), data) :]


def _text(data):
    return data.decode("utf-8", "surrogateescape")
