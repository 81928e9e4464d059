"""A SKILL.md: what happens, how to recognise it, why probably, what to do, and the evidence."""

from __future__ import annotations

import json

from pulser.tools.builtin.skills.clusters import Cluster, example_text


def skill_page(cluster: Cluster) -> str:
    """The page; its front matter has ``name`` and ``description``, by which an agent finds it."""
    cause = cluster.cause
    description = f"Use when a task or log shows '{_short(cluster.template, 160)}' ({cause.title}): what it means, how to tell it from others, and what to do."
    seen = f"{cluster.count} time{'s' * (cluster.count != 1)}" + (
        f", first {cluster.first_seen}, last {cluster.last_seen}" if cluster.first_seen else ", at times that are not known"
    )
    lines = [
        "---",
        f"name: {cluster.slug}",
        f"description: {json.dumps(description, ensure_ascii=False)}",
        "---",
        "",
        f"# {cause.title[:1].upper()}{cause.title[1:]}",
        "",
    ]
    lines += ["## What happens", "", f"Seen {seen}{_among(cluster)}.", ""]
    lines += ["## How to recognise it", "", "The message has this form (`<…>` stands for what changes):", "", *_fenced(cluster.template), ""]
    if cluster.code:
        lines += [f"Its code is `{cluster.code.replace('`', '')}`.", ""]
    if frames := list(cluster.counted("frame"))[:3]:
        lines += ["It comes from: " + "; ".join(f"`{frame.replace('`', '')}`" for frame in frames) + ".", ""]
    lines += ["## Probable cause", "", cause.cause + (" Trying again may help." if cause.passing else ""), ""]
    lines += ["## What to do", ""]
    steps = [*(f"{hint} (said by the error itself)" for hint in cluster.hints), *cause.steps]
    lines += [f"{number}. {_plain(step)}" for number, step in enumerate(steps, 1)]
    lines += ["", "## Evidence", "", "| what | counts |", "|---|---|"]
    for what, name in (("agent", "agents"), ("task_type", "task types"), ("action", "actions"), ("source", "told by")):
        if counts := cluster.counted(what):
            lines.append(f"| {name} | {', '.join(f'{_plain(value)} {count}' for value, count in list(counts.items())[:8])} |")
    lines += ["", "Examples, newest first:", ""]
    for example in cluster.examples():
        about = ", ".join(part for part in (example.at or "", example.task_id, example.source) if part)
        lines += [*_fenced(example_text(example)), f"{_plain(about)}" if about else "", ""]
    lines += ["Written by learnbot from words alone; correct it where you know better.", ""]
    return "\n".join(lines)


def _among(cluster: Cluster) -> str:
    """Who met it, if that says something."""
    agents, types = list(cluster.counted("agent")), list(cluster.counted("task_type"))
    parts = [f"only by {agents[0]}" if len(agents) == 1 else f"by {len(agents)} agents" if agents else "", f"in {types[0]} tasks" if len(types) == 1 else ""]
    told = ", ".join(part for part in parts if part)
    return f"; {told}" if told else ""


def _fenced(text: str) -> list[str]:
    """A code block that its own content cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [fence + "text", text, fence]


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
