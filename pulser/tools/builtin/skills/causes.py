"""What a message usually means and what usually helps: rules on words, first match wins. Told as probable, never as certain."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """``title`` names a skill; ``passing`` is True where trying again may help."""

    title: str
    cause: str
    steps: tuple[str, ...]
    passing: bool = False


_RULES: tuple[tuple[str, Cause], ...] = (
    (
        r"worker_lost|fell silent|lease (was )?(lost|taken|expired)|sigkill|oom.?kill|killed by signal",
        Cause(
            "lost worker",
            "The process that did the work died or was cut off: killed for its memory, restarted, or the machine went away.",
            (
                "Look for the kernel's out-of-memory lines and for restarts at that time.",
                "Compare the memory of the task with the worker's limit.",
                "If one task does it each time, give it less input or a higher limit.",
            ),
            True,
        ),
    ),
    (
        r"out of memory|memoryerror|cannot allocate|memory limit",
        Cause(
            "out of memory",
            "The work needed more memory than it may use.",
            ("Give it less at once: a sample, fewer columns, smaller files.", "Raise the tool's or the container's memory limit."),
        ),
    ),
    (
        r"no space left|disk (is )?full|enospc|quota exceeded|file too large",
        Cause("disk full", "The disk or a quota is full.", ("Free space or raise the quota; old artifacts and logs come first.", "Run the task again.")),
    ),
    (
        r"timed? ?-?out|deadline exceeded|timeouterror|time limit",
        Cause(
            "timeout",
            "Something did not answer in time: an overloaded or unreachable peer, or more work than the limit allows.",
            (
                "See whether it happens under load only; if so, add capacity or spread the work.",
                "Check the peer's health and the network to it.",
                "Raise the time limit only if the work is truly that long.",
            ),
            True,
        ),
    ),
    (
        r"connection (refused|reset|aborted|closed)|econnrefused|econnreset|broken pipe|unreachable"
        r"|no route to host|server closed|connect(ion)? ?error|could not connect",
        Cause(
            "connection failure",
            "The other side is down, restarting, or not where it is looked for.",
            (
                "Check that the service runs and listens on that address and port.",
                "Check the host name and the network between the two.",
                "If it restarts now and then, let the retry do its work.",
            ),
            True,
        ),
    ),
    (
        r"name or service not known|name resolution|getaddrinfo|nxdomain|dns",
        Cause(
            "name not resolved",
            "The host name cannot be looked up.",
            ("Check the spelling of the host name.", "Check the resolver on the machine that runs the worker."),
            True,
        ),
    ),
    (
        r"certificate|ssl|tls|x509",
        Cause(
            "TLS failure",
            "The certificate is not trusted, does not fit the name, or has run out.",
            ("Look at its dates and names (openssl s_client).", "Install the authority that signed it; never switch checking off."),
        ),
    ),
    (
        r"rate.?limit|too many requests|\b429\b|throttl",
        Cause(
            "rate limit",
            "More was asked than the other side allows.",
            ("Spread the work over time, or lower the concurrency.", "Ask for a higher limit."),
            True,
        ),
    ),
    (
        r"unauthori[sz]ed|\b401\b|invalid (token|key|credential|password)|authentication failed|password authentication|not signed in|log-?in failed",
        Cause(
            "not signed in",
            "A key or password is missing, wrong or has run out.",
            ("Renew the credential in the settings or the connection.", "Never put it into a payload."),
        ),
    ),
    (
        r"permission denied|eacces|eperm|forbidden|\b403\b|not allowed|access denied|operation not permitted|read-only",
        Cause(
            "permission denied",
            "The one who does the work may not do this.",
            ("Check owner and mode of the file, or the role of the key.", "Name the folder among the roots, with :rw to write."),
        ),
    ),
    (
        r"outside the folders|not under a (folder|root)",
        Cause("path outside the roots", "The path is not under a folder that may be named.", ("Add the folder to PULSER_TOOLS_ROOTS, or upload the file.",)),
    ),
    (
        r"modulenotfounderror|no module named|importerror|is not installed|command not found|cannot open shared object",
        Cause(
            "missing dependency",
            "A library or program is not installed where the worker runs.",
            ("Install it there, in the version that is wanted.", "For Pulser's own tools: install the extra that is named."),
        ),
    ),
    (
        r"no such file|filenotfound|enoent|there is no file|does not exist|not found|\b404\b",
        Cause(
            "not found",
            "What was named is not there: moved, misspelt, or not yet made.",
            ("Check the name, and from which folder it is looked for.", "If another task makes it, let this one depend on that one (depends_on)."),
        ),
    ),
    (
        r"database is locked|deadlock|lock (wait )?timeout|could not obtain lock|serialization failure|could not serialize",
        Cause(
            "lock contention",
            "Two writers wanted the same rows or file.",
            ("Keep transactions short, and take locks in one order.", "Let it be retried."),
            True,
        ),
    ),
    (
        r"duplicate key|unique constraint|already exists|uniqueviolation|integrityerror|foreign key|not.null constraint",
        Cause(
            "constraint violated",
            "The data break a rule of the database: a key that is there already, or a reference to nothing.",
            ("Look at the rejected rows.", "Use an upsert, or clean the source first."),
        ),
    ),
    (
        r"unicodedecodeerror|not utf-8|codec can't|invalid start byte",
        Cause(
            "wrong encoding",
            "The file is not in the encoding that is expected, mostly UTF-8.",
            ("Convert it (iconv -f … -t utf-8).", "Fix the program that writes it."),
        ),
    ),
    (
        r"jsondecodeerror|not (valid )?json|expecting value|unexpected token|parse ?error"
        r"|syntax ?error|not yaml|malformed|invalid syntax|tokenizing|unreadable",
        Cause(
            "unreadable input",
            "The input is not of the form that is expected.",
            ("Open it at the line that is named.", "Check that the producer did not write an error page or half a file."),
        ),
    ),
    (
        r"bad-input|unknown-name|validation ?error|is missing|not acceptable|is required|invalid (value|argument|choice)|must be",
        Cause(
            "refused input",
            "The request itself is at fault; trying again will not help.",
            ("Read the field that is named and mend it at the sender.", "Check the action's arguments in the docs."),
        ),
    ),
    (
        r"\b50[0234]\b|internal server error|bad gateway|service unavailable|gateway timeout",
        Cause(
            "failing peer",
            "The service that was called failed itself.",
            ("Look at its own log at that time.", "Let it be retried; if it lasts, tell whoever runs it."),
            True,
        ),
    ),
    (
        r"assertionerror|assert ",
        Cause(
            "failed assertion",
            "Something the code takes for granted did not hold.",
            ("Reproduce it with the input of the example.", "Look at the place that is named; fix the code or the assumption."),
        ),
    ),
    (
        r"(key|attribute|type|index|value|name|zerodivision|recursion|notimplemented|unboundlocal)error|nonetype|undefined is not|null ?pointer|segfault|panic",
        Cause(
            "programming error",
            "The code met a case it was not written for.",
            ("Reproduce it with the input of the example, and write a test that fails.", "Handle the case at the place that is named."),
        ),
    ),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), cause) for pattern, cause in _RULES)
UNKNOWN = Cause(
    "recurring failure",
    "Not known: no rule fits these words.",
    ("Look at the examples and at what changed before it was first seen.", "When it is understood, write it down here."),
)


def probable(*texts: str) -> Cause:
    """The first cause whose words are in one of ``texts``, or :data:`UNKNOWN`."""
    joined = "\n".join(texts)
    return next((cause for pattern, cause in _COMPILED if pattern.search(joined)), UNKNOWN)
