"""The options of a container build: the one list that hub, CLI, builder and docs read.

Names and types are those of the old system's `buildContainer` call; clients depend on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from functools import lru_cache
from typing import Any, Optional, get_type_hints

from koji_containerbuild.errors import BadRequest

LEGACY_SIGNATURE = [[["src", "target", "opts"], None, None, (None,)]]
DEFAULT_CHANNEL = "container-binary"
HELP = "See `koji container-build --help`."


def option(
    help: str,  # noqa: A002 — it is the help text
    default: Any,
    flag: str = "",
    **rules: Any,
) -> Any:
    """One row of the table.

    Rules: `metavar` of the flag; `never_with`, `only_with` (names of options); `not_yet` (why the
    option is known but refused); `required`; `words` (one text with blanks or commas between).
    """
    return field(default=default, metadata={"help": help, "flag": flag, **rules})


@dataclass(frozen=True)
class BuildOptions:
    """What may be said beside source and target. Users' words come in by `from_dict` alone."""

    git_branch: Optional[str] = option(
        "Branch that the commit is on (required).",
        None, "--git-branch", metavar="BRANCH", required=True,
    )  # fmt: skip
    scratch: bool = option(
        "Build and push, but make no Koji build and move no tag.", False, "--scratch"
    )
    dry_run: bool = option(
        "Look everything up and tell what would be built; reserve, build and push nothing.",
        False, "--dry-run",
    )  # fmt: skip
    isolated: bool = option(
        "Build beside the main stream: needs --release N.M, moves no floating tag.",
        False, "--isolated", never_with=("scratch",), needs=("release",),
    )  # fmt: skip
    release: Optional[str] = option(
        "Release to use, in place of the next free one.", None, "--release", metavar="RELEASE"
    )
    arch_override: tuple[str, ...] = option(
        "Only these arches, with blanks or commas between. Needs --scratch or --isolated.",
        (), "--arch-override", metavar="ARCHES", only_with=("scratch", "isolated"), words=True,
    )  # fmt: skip
    yum_repourls: tuple[str, ...] = option(
        "URL of a .repo file to use during the build, in place of the target's repo. "
        "Can be given more than once.",
        (), "--repo-url", metavar="URL",
    )  # fmt: skip
    koji_parent_build: Optional[str] = option(
        "Koji build (NVR or id) whose image takes the place of the one that the last stage stands "
        "on.",
        None, "--koji-parent-build", metavar="NVR",
    )  # fmt: skip
    signing_intent: Optional[str] = option(
        "Lowest signing that packages must have.",
        None, "--signing-intent", metavar="NAME", never_with=("compose_ids",),
        not_yet="composes are not supported",
    )  # fmt: skip
    compose_ids: tuple[int, ...] = option(
        "Existing ODCS compose to take packages from. Can be given more than once.",
        (), "--compose-id", metavar="ID", not_yet="composes are not supported",
    )  # fmt: skip
    flatpak: bool = option("Build a flatpak.", False, not_yet="flatpaks are not supported")
    dependency_replacements: tuple[str, ...] = option(
        "Dependency to replace, as MANAGER:NAME:VERSION[:NEW_NAME]. Can be given more than once.",
        (), "--replace-dependency", metavar="DEPENDENCY", only_with=("scratch",),
        not_yet="remote sources are not supported",
    )  # fmt: skip
    operator_csv_modifications_url: Optional[str] = option(
        "URL of a file with changes to an operator's CSV.",
        None, "--operator-csv-modifications-url", metavar="URL", only_with=("isolated",),
        not_yet="operator bundles are not supported",
    )  # fmt: skip
    userdata: Optional[Mapping[str, Any]] = option(
        "JSON object to keep with the build.", None, "--userdata", metavar="JSON"
    )
    triggered_after_koji_task: Optional[int] = option(
        "Task whose build was the reason for this one; kept with the build. For programs.", None
    )
    push_url: Optional[str] = option(
        "Has no effect: the site decides where images are pushed. Old callers give it.", None
    )
    skip_build: bool = option(
        "Removed long ago; only false is accepted.",
        False, not_yet="'skip_build' functionality has been removed",
    )  # fmt: skip

    @classmethod
    def from_dict(cls, given: Any) -> BuildOptions:
        """Read options as they come in a task; None means "not given". Raises BadRequest."""
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            raise BadRequest("The options are not a map of names to values.", do=HELP)
        table = {f.name: f for f in fields(cls)}
        for name in given:
            if name not in table:
                raise BadRequest(f"Unknown option '{name}'.", do=_nearest(str(name), list(table)))
        read = {name: _value(table[name], value) for name, value in given.items()}
        options = cls(**{name: value for name, value in read.items() if value is not None})
        return options._checked()

    def to_dict(self) -> dict[str, Any]:
        """Only what was given, in the types of the wire."""
        return {
            f.name: _wire(f, getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    def _checked(self) -> BuildOptions:
        for f in fields(self):
            if getattr(self, f.name):
                self._check_rules(f)
            elif f.metadata.get("required"):
                raise BadRequest(
                    f"The option {f.name} is missing.",
                    do=f"Say which branch the commit is on: {f.metadata['flag']} BRANCH.",
                )
        return self

    def _check_rules(self, f: Field[Any]) -> None:
        rules = f.metadata
        if rules.get("not_yet"):
            raise BadRequest(f"The option {f.name} cannot be used: {rules['not_yet']}.",
                             do="Leave it out.")  # fmt: skip
        clash = [name for name in rules.get("never_with", ()) if getattr(self, name)]
        if clash:
            raise BadRequest(f"{f.name} cannot be combined with {clash[0]}.",
                             do="Leave one of them out.")  # fmt: skip
        only = rules.get("only_with", ())
        if only and not any(getattr(self, name) for name in only):
            raise BadRequest(f"{f.name} needs {' or '.join(only)}.",
                             do=f"Add one of these, or leave {f.name} out.")  # fmt: skip
        missing = [name for name in rules.get("needs", ()) if not getattr(self, name)]
        if missing:
            raise BadRequest(f"{f.name} needs {missing[0]}.", do=HELP)


def flags() -> list[Field[Any]]:
    """The options that have a flag on the command line, in the order of the table."""
    return [f for f in fields(BuildOptions) if f.metadata["flag"]]


def kind_of(f: Field[Any]) -> Any:
    """The type of an option: bool, str, Mapping, or a tuple's item type in a list ([str])."""
    hint = _hints()[f.name]
    return _KINDS[str(hint).replace("typing.", "")]


@lru_cache(maxsize=1)
def _hints() -> dict[str, Any]:
    return get_type_hints(BuildOptions)


_KINDS: dict[str, Any] = {
    "<class 'bool'>": bool,
    "Optional[str]": str,
    "Optional[int]": int,
    "tuple[str, ...]": [str],
    "tuple[int, ...]": [int],
    "Optional[collections.abc.Mapping[str, Any]]": Mapping,
}


def _value(f: Field[Any], value: Any) -> Any:
    """A value from the wire in the type of its row, or None for "not given"."""
    kind = kind_of(f)
    if value is None and kind not in (bool, Mapping):
        return None
    if isinstance(kind, list):
        return _items(f, kind[0], value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(f"The option {f.name} is {value!r:.80}, and should be {_NAMES[kind]}.",
                         do=HELP)  # fmt: skip
    return value or f.default


_NAMES: dict[Any, str] = {bool: "true or false", str: "a text", Mapping: "a map", int: "a number"}


def _items(f: Field[Any], kind: type, value: Any) -> tuple[Any, ...]:
    if f.metadata.get("words") and isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, (list, tuple)):
        raise BadRequest(f"The option {f.name} is {value!r:.80}, and should be a list.", do=HELP)
    wrong = [item for item in value if type(item) is not kind or item == ""]
    if wrong:
        raise BadRequest(
            f"The option {f.name} holds {wrong[0]!r:.80}, and each item should be {_NAMES[kind]}.",
            do=HELP,
        )
    return tuple(value)


def _wire(f: Field[Any], value: Any) -> Any:
    if f.metadata.get("words"):
        return " ".join(value)
    return list(value) if isinstance(value, tuple) else value


def _nearest(name: str, known: list[str]) -> str:
    import difflib  # for the one who mistyped: the command line loads us for every build

    close = difflib.get_close_matches(name, known, 1)
    return f"Did you mean '{close[0]}'?" if close else f"The options are: {', '.join(known)}."


def userdata_from_text(text: str) -> Mapping[str, Any]:
    """The value of --userdata. Raises BadRequest."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadRequest(
            f"--userdata is not JSON: {error}.", do="Quote it for the shell."
        ) from error
    if not isinstance(value, dict):
        raise BadRequest(
            "--userdata is not a JSON object.", do="""Write it as '{"key": "value"}'."""
        )
    return value
