"""HTTP to one Pulser: signed, repeated where that does no harm, refusals as the errors they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput, Conflict, Forbidden, Gone, KeyInUse, NotFound, NotSignedIn, PulserError, Unavailable

Json = dict[str, Any]
STREAM_S = 45.0  # a stream that says nothing for that long is dead: the server keeps it alive every 15 s
FIRST_DELAY_S, LONGEST_DELAY_S = 0.15, 10.0
_BUSY = (429, 502, 503, 504)


class Wire:
    """The connection, made at the first request. For one thread at a time."""

    def __init__(self, url: str, token: str, token_file: Path, timeout: float, retries: int, transport: Any = None) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self._token = token
        self._token_file = token_file
        self._transport = transport
        self._http: Any = None

    def close(self) -> None:
        """Give the connection back."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def ask(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None, content: Callable[[], Any] | None = None,
        headers: Mapping[str, str] | None = None, again: bool = False, timeout: float | None = None,
    ) -> Any:  # fmt: skip
        """The answer, or the error it stands for; repeated if it may be."""
        failures = 0
        while True:
            try:
                response = self.connection().request(
                    method, path, params=_given(params), json=json, content=content() if content else None,
                    headers={**self._signed(), **(headers or {})}, timeout=timeout or self.timeout,
                )  # fmt: skip
                if response.is_success:
                    return response
                raise problem(response)
            except (PulserError, lost()) as error:
                failures += 1
                told = error if isinstance(error, PulserError) else self.unreachable(error)
                never_sent = type(error).__name__ == "ConnectError"
                if failures > self.retries or not isinstance(told, Unavailable | KeyInUse) or not (again or never_sent):
                    raise told from None
                pause(failures, told)

    def stream(self, path: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Stream:
        """The answer as it comes, as a context manager."""
        return Stream(self, path, _given(params), {**self._signed(), **(headers or {})})

    def connection(self) -> Any:
        """The HTTP client."""
        if self._http is None:
            import httpx2

            # towards this machine no proxy of the environment is asked
            self._http = httpx2.Client(base_url=self.url, trust_env=not self.local, transport=self._transport)
        return self._http

    @property
    def local(self) -> bool:
        """True if the server is on this machine."""
        from urllib.parse import urlsplit

        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def unreachable(self, error: Exception) -> Unavailable:
        """What a broken connection means to the caller."""
        why = "does not answer in time" if "Timeout" in type(error).__name__ else f"cannot be reached ({error})"
        return Unavailable(f"Pulser at {self.url} {why}", hint="Start it with: pulser serve. For another address set PULSER_URL.")

    def _signed(self) -> dict[str, str]:
        secret = self._token or (self._local_token() if self.local else "")
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def _local_token(self) -> str:
        """Read again each time: a server may just have made it. Never sent to another machine."""
        try:
            return self._token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


class Stream:
    """An answer that is read as it comes; broken connections are :class:`Unavailable`."""

    def __init__(self, wire: Wire, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        import httpx2

        self._wire = wire
        timeout = httpx2.Timeout(wire.timeout, read=STREAM_S)
        self._open = wire.connection().stream("GET", path, params=params, headers=headers, timeout=timeout)

    def __enter__(self) -> Any:
        try:
            response = self._open.__enter__()
            if response.is_success:
                return response
            response.read()
        except lost() as error:
            raise self._wire.unreachable(error) from None
        self._open.__exit__(None, None, None)
        raise problem(response)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._open.__exit__(kind, error, trace)
        if isinstance(error, lost()):
            raise self._wire.unreachable(error) from None


def lost() -> type[Exception]:
    """What a broken connection raises."""
    import httpx2

    return httpx2.TransportError


def problem(response: Any) -> PulserError:
    """The error a refusal stands for: by its code, else by its status."""
    try:
        told = response.json()
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    code = str(told.get("type", "")).rpartition("/")[2]
    detail = str(told.get("detail") or told.get("title") or f"the server answered {response.status_code}")
    fields = {name: value for name, value in told.items() if name not in ("type", "title", "status", "detail", "hint", "instance")}
    if (wait := response.headers.get("Retry-After", "")).isdigit():
        fields["retry_after_s"] = int(wait)
    kind = Unavailable if response.status_code in _BUSY else _kinds().get(code) or _BY_STATUS.get(response.status_code, _other(response.status_code))
    return kind(detail, hint=str(told.get("hint") or ""), **fields)


@cache
def _kinds() -> dict[str, type[PulserError]]:
    def below(kind: type[PulserError]) -> Iterator[type[PulserError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    return {kind.code: kind for kind in reversed(list(below(PulserError)))}


_BY_STATUS: dict[int, type[PulserError]] = {401: NotSignedIn, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}


def _other(status: int) -> type[PulserError]:
    return BadInput if 400 <= status < 500 else PulserError


def pause(failures: int, error: PulserError) -> None:
    """Wait before the next try: twice as long each time with full jitter, or as long as the server says."""
    from random import SystemRandom
    from threading import Event

    delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures, 10))
    said = float(error.fields.get("retry_after_s", 0))
    Event().wait(min(LONGEST_DELAY_S, said) + SystemRandom().uniform(delay_s / 4, delay_s))


def frames(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Server-sent events: ``{id, event, data}``, those that are given. https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    frame: dict[str, str] = {}
    for line in lines:
        if not line:
            if frame:
                yield frame
            frame = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            frame[name] = f"{frame[name]}\n{value}" if name == "data" and name in frame else value


def _given(params: Mapping[str, Any] | None) -> Json:
    return {name: value for name, value in (params or {}).items() if value is not None and value != ""}
