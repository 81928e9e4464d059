"""The agents there are: the shipped specs and those of a user's folder, and who takes which task type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pulser.agents.spec import AUTO, Action, AgentSpec, load
from pulser.core.errors import BadInput, OperatorError, UnknownName, nearest

HERE = Path(__file__).parent
SHIPPED = HERE / "specs"
AVATARS = HERE / "avatars"


@dataclass(frozen=True, eq=False)
class Registry:
    """All agents by name, and the name of the agent for each task type. Made once, at start; never changed; equal only to itself."""

    specs: dict[str, AgentSpec]
    types: dict[str, str]

    @classmethod
    def load(cls, extra_dir: str = "") -> Registry:
        """Shipped specs, then ``*.yaml`` of ``extra_dir``: a spec there replaces the shipped one of the same name.

        Raises :class:`OperatorError` that lists every problem of every file: a bad spec, two files with one name, a task type that
        two agents claim, a backup that is not there.
        """
        problems: list[str] = []
        hints: list[str] = []
        shipped = _read(sorted(SHIPPED.glob("*.yaml")), problems, hints)
        own = _read(_own_files(extra_dir), problems, hints) if extra_dir else {}
        specs = {**shipped, **own}
        types = _types(specs, problems, hints)
        for spec in specs.values():
            if spec.backup and spec.backup not in specs:
                problems.append(f"{spec.source}: there is no agent {spec.backup!r} to be the backup of {spec.name!r}")
                hints.append(nearest(spec.backup, [name for name in specs if name != spec.name]))
        if problems:
            raise OperatorError("the agents cannot be loaded:\n" + "\n".join(problems), hint="\n".join(dict.fromkeys(hints)))
        return cls(specs, types)

    def agent(self, name: str) -> AgentSpec:
        """The agent of that name; :class:`UnknownName` lists those there are."""
        try:
            return self.specs[name]
        except KeyError:
            raise UnknownName(f"there is no agent {name[:80]!r}", hint=nearest(name, list(self.specs)), known=sorted(self.specs)) from None

    def agents(self) -> list[AgentSpec]:
        """All, by name."""
        return [self.specs[name] for name in sorted(self.specs)]

    def task_types(self) -> list[str]:
        """All task types, sorted; ``auto`` is not among them."""
        return sorted(self.types)

    def for_type(self, task_type: str) -> AgentSpec:
        """The agent that takes this task type; :class:`UnknownName` lists the types there are, nearest first."""
        try:
            return self.specs[self.types[task_type]]
        except KeyError:
            raise UnknownName(f"there is no task type {task_type[:80]!r}", hint=nearest(task_type, [*self.types, AUTO]), known=self.task_types()) from None

    def resolve(self, task_type: str, agent: str | None = None, action: str | None = None) -> tuple[AgentSpec, str, Action]:
        """Who does it and how: the named agent, or the one of the task type; the named action, or the default of the type.

        A named agent may be given a type of another agent: the default action is then that of the agent's first type.
        Raises :class:`UnknownName` for a type, agent or action that is not there, with the nearest and the list.
        """
        owner = self.for_type(task_type)
        spec = self.agent(agent) if agent is not None else owner
        known = spec.task_types.get(task_type) or next(iter(spec.task_types.values()))
        name = known.default_action if action is None else action
        try:
            return spec, name, spec.actions[name]
        except KeyError:
            raise UnknownName(
                f"the agent {spec.name!r} has no action {name[:80]!r}",
                hint=nearest(name, list(spec.actions)),
                known=sorted(spec.actions),
                pointer="/payload/action",
            ) from None

    def avatar_file(self, name: str) -> Path | None:
        """The SVG of that agent, beside its spec or among the shipped ones; None if it has none."""
        spec = self.agent(name)
        if not spec.avatar:
            return None
        places = [AVATARS] if Path(spec.source).parent == SHIPPED else [Path(spec.source).parent, AVATARS]
        return next((place / spec.avatar for place in places if (place / spec.avatar).is_file()), None)


def _own_files(extra_dir: str) -> list[Path]:
    folder = Path(extra_dir).expanduser()
    if not folder.is_dir():
        raise OperatorError(f"the folder of agent specs {extra_dir!r} is not there", hint="Create it, or unset PULSER_TOOLS_AGENTS_DIR.")
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())


def _read(files: list[Path], problems: list[str], hints: list[str]) -> dict[str, AgentSpec]:
    specs: dict[str, AgentSpec] = {}
    for path in files:
        try:
            spec = load(path.read_text(encoding="utf-8"), str(path))
        except BadInput as error:
            problems.append(error.detail)
            hints.append(error.hint)
            continue
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: cannot be read: {error}")
            hints.append("Save it as UTF-8 text that this user may read.")
            continue
        if spec.name in specs:
            problems.append(f"{path} and {specs[spec.name].source} both describe the agent {spec.name!r}")
            hints.append("Rename one of them.")
        specs[spec.name] = spec
    return specs


def _types(specs: dict[str, AgentSpec], problems: list[str], hints: list[str]) -> dict[str, str]:
    types: dict[str, str] = {}
    for spec in specs.values():
        for task_type in spec.task_types:
            other = types.setdefault(task_type, spec.name)
            if other != spec.name:
                problems.append(f"{spec.source} and {specs[other].source} both claim the task type {task_type!r}")
                hints.append("A task type belongs to one agent; remove it from one of them.")
    return types
