"""Every kind of event: what it says and the fields of its ``details``. docs/reference/events.md is generated from here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Kind:
    """``says`` is a sentence with ``{target}``, ``{actor}`` and fields in braces, for people."""

    name: str
    says: str
    fields: dict[str, str] = field(default_factory=dict)


_KINDS = (
    Kind(
        "task_submitted",
        "{actor} submitted {target}",
        {"task_type": "its type", "action": "what is to be done", "priority": "critical, high, medium or low", "title": "its title, if any"},
    ),
    Kind("task_routed", "{target} goes to {agent}", {"agent": "the agent", "rule": "the rule that decided", "reason": "why, in words"}),
    Kind(
        "task_claimed",
        "{actor} took {target}",
        {"worker_id": "the worker", "agent": "the agent", "token": "the fencing token", "attempt": "number of this attempt"},
    ),
    Kind("executor_started", "{agent} started {target}", {"agent": "the agent", "attempt": "number of this attempt"}),
    Kind("executor_progress", "{target}: {message}", {"message": "how far it is", "fraction": "0 to 1, if known"}),
    Kind(
        "executor_succeeded",
        "{agent} finished {target}",
        {"agent": "the agent", "attempt": "number of this attempt", "artifacts": "names of the files it made"},
    ),
    Kind(
        "executor_failed",
        "{agent} failed at {target}: {error}",
        {"agent": "the agent", "attempt": "number of this attempt", "error": "what went wrong", "code": "its code"},
    ),
    Kind("lease_released", "the lease on {target} ended", {"token": "the fencing token", "outcome": "how the attempt ended"}),
    Kind(
        "lease_reclaimed",
        "the lease on {target} was taken back: {worker_id} fell silent",
        {"worker_id": "who held it", "token": "the token that is now void", "reclaims": "how often this happened"},
    ),
    Kind(
        "task_retried",
        "{target} will be tried again at {available_at}",
        {"agent": "the agent", "available_at": "when", "retry": "number of this retry", "delay_s": "seconds to wait"},
    ),
    Kind("task_waiting", "{target} waits for {waiting_for}", {"waiting_for": "dependency, approval, quota, budget or event", "on": "ids it waits for"}),
    Kind("task_unblocked", "{target} need not wait any more", {}),
    Kind("task_moved", "{actor} moved {target} to {to}", {"to": "the new stage", "note": "what they said"}),
    Kind("task_changed", "{actor} changed {target}", {"fields": "what was changed"}),
    Kind("task_cancelled", "{actor} cancelled {target}", {"reason": "why", "cause": "the task that failed, if that is why"}),
    Kind("task_failed", "{target} failed for good: {error}", {"agent": "the agent", "error": "what went wrong", "code": "its code"}),
    Kind("task_requeued", "{actor} queued {target} again", {"generation": "which life this is"}),
    Kind("task_discarded", "{actor} put {target} out of sight", {}),
    Kind("agent_paused", "{actor} paused {target}", {}),
    Kind("agent_resumed", "{actor} let {target} go on", {}),
    Kind("instance_toggled", "{actor} made an instance of {target} {state}", {"instance_id": "which", "state": "available or unavailable"}),
    Kind("file_stored", "{actor} stored the file {name}", {"sha256": "its content", "name": "its name", "size_bytes": "its size"}),
    Kind("lease_acquired", "{holder} holds {target}", {"holder": "who", "lock_id": "the lock", "token": "the fencing token", "ttl_seconds": "for how long"}),
    Kind("key_created", "{actor} made the key {target}", {"role": "viewer, operator or admin"}),
    Kind("key_revoked", "{actor} revoked the key {target}", {}),
    Kind("log_pruned", "what happened before was pruned from the log, as the policy says", {}),
    Kind("note", "{actor}: {text}", {"text": "what they said"}),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
