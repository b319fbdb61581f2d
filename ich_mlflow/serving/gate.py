"""What a request must be before it is read: JSON, not too large, and not one too many.

A stranger's body must not silence the server: what takes gigabytes or minutes is refused before anything is made of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MIB = 2**20
#: A body is at most this. An exam of 45 slices of 512 x 512 is 31 MB in base64.
MAX_BODY_BYTES = 96 * MIB
#: Of all requests that are being read or answered, so that many large ones do not add up.
MAX_HELD_BYTES = 4 * MAX_BODY_BYTES
#: Values in a body: lists of pixels take 40 bytes each where JSON takes two. 48 slices of 512 x 512.
MAX_VALUES = 48 * 512 * 512
#: Requests that are answered at a time, each in a thread of its own; the next is sent away at once.
MAX_RUNNING = 16
RETRY_AFTER_S = 1
BUSY = f"the server is busy: send the request again after {RETRY_AFTER_S} s"
ONLY_JSON = "the body is not JSON by its Content-Type, expected application/json"
TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES // MIB} MiB: send fewer slices a request"
TOO_MANY_VALUES = (
    f"the body has more than {MAX_VALUES:,} values, 48 slices of 512 x 512: send fewer, or DICOM in base64"
)

Handler = Callable[..., Awaitable[Any]]


class Gate:
    """Lets requests through to MLflow's handler, or answers them itself. Of one event loop, so it needs no lock."""

    def __init__(self, *, max_running: int = MAX_RUNNING, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_running, self._max_held_bytes = max_running, max_held_bytes
        self._running = self._held_bytes = 0
        self._has_threads = False

    async def answer(self, request: Any, handler: Handler) -> Any:
        """The handler's answer; 415, 413, 400 or 503 in one line where the request does not get there."""
        if not _says_json(request.headers.get("content-type", "")):
            return refused(415, ONLY_JSON)
        if self._running >= self._max_running:
            return busy()
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            return refused(413, TOO_LARGE)
        self._give_threads()
        self._running += 1
        held = 0
        try:
            body = bytearray()
            async for chunk in _chunks(request):
                held += len(chunk)
                self._held_bytes += len(chunk)
                if held > MAX_BODY_BYTES:
                    return refused(413, TOO_LARGE)
                if self._held_bytes > self._max_held_bytes:
                    return busy()
                body += chunk
            if body.count(b",") > MAX_VALUES:
                return refused(400, TOO_MANY_VALUES)
            request._body = bytes(body)  # where Starlette keeps what it has read
            del body
            return await handler(request)
        finally:
            self._running -= 1
            self._held_bytes -= held

    def _give_threads(self) -> None:
        """As many as requests may run: MLflow answers in the loop's own, of which there are few on few cores."""
        if not self._has_threads:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self._max_running))
            self._has_threads = True


def refused(status: int, line: str) -> Any:
    """An answer of MLflow's form, with one line."""
    from starlette.responses import (
        JSONResponse,  # where the server is: what reads its limits need not load it
    )

    codes = {413: "BAD_REQUEST", 415: "BAD_REQUEST", 503: "TEMPORARILY_UNAVAILABLE"}
    code = codes.get(status, "INVALID_PARAMETER_VALUE")
    return JSONResponse({"error_code": code, "message": line}, status_code=status)


def busy() -> Any:
    """503, and when to come again."""
    answer = refused(503, BUSY)
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _says_json(content_type: str) -> bool:
    return content_type.split(";")[0].strip().lower() == "application/json"


def _chunks(request: Any) -> AsyncIterator[bytes]:
    found: AsyncIterator[bytes] = request.stream()
    return found
