"""JSON that must satisfy a JSON Schema.

The gold is `{"schema": {...}}`. The document is the last `<answer>` tag or all of the response, and in it the
fenced blocks labelled `json`, else those without a label, else the whole text; `"extract": "whole"` takes the
whole response alone. Blocks that hold different documents are several answers, which is no answer. The text
is read strictly (json_text.py), and compared in a worker process (json_schema_worker.py), since patterns and
uniqueness can take long. What a schema may hold is decided in json_schema_rules.py.
"""

import json
import re
from importlib.metadata import version
from typing import Any, NamedTuple

from verifiers import json_text
from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.extract import strip_reasoning

_FORM = 'a json_schema ground_truth is JSON text such as {"schema": {"type": "object", ...}, "extract": "auto"}'
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
# A comment that hides a document; others may stand in a document's own texts.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_PLACE = re.compile(r"<answer>|```|~~~", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([A-Za-z0-9_+-]*)[ \t]*")


class Gold(NamedTuple):
    """The schema as JSON text, ready for the worker, and whether the whole response must be the document."""

    schema: str
    whole: bool


def parse_gold(value: Any) -> Gold:
    """Read a gold; raises `BadGold` for another form, and for a schema that cannot be used as one (which, and why)."""
    from verifiers.json_schema_rules import prepare  # loads the schema library, which most programs do not need

    if not isinstance(value, dict) or not {"schema"} <= set(value) <= {"schema", "extract"}:
        raise BadGold(_FORM)
    extract = value.get("extract", "auto")
    if extract not in ("auto", "whole"):
        message = f'extract must be "auto" or "whole", not {str(extract)[:40]!r}'
        raise BadGold(message)
    return Gold(prepare(value["schema"]), extract == "whole")


def check(response: str, gold: Gold, _prompt: str) -> Outcome | Deferred:
    """Find the one document of a response, read it strictly, and leave its validation to a worker."""
    text = strip_reasoning(response)
    source, texts = ("whole response", [text]) if gold.whole else documents(text)
    found: dict[str, None] = {}
    for one in texts:
        try:
            found[json_text.canonical(json_text.loads(one.strip(" \t\r\n")))] = None
        except json_text.OverLimit as error:
            return Outcome(Status.incorrect, None, f"{source}: {error}")
        except json_text.NotJson as error:
            problem = f"not JSON: {error}" if one.strip() else "empty"
            return Outcome(Status.unparsed, None, f"{source}: {problem}")
    document, *others = found
    if others:
        return Outcome(Status.unparsed, None, f"{source}: several different documents offered at once")
    return Deferred(json.dumps({"schema": gold.schema, "document": document}), document, source)


def documents(text: str) -> tuple[str, list[str]]:
    """Return the rule that applies to a text without reasoning, and the documents that it finds; at least one."""
    text = _COMMENT.sub(lambda comment: "" if _PLACE.search(comment[0]) else comment[0], text)
    tagged = _tagged(text)
    text = text if tagged is None else tagged
    blocks = _blocks(text)
    for source, label in (("json block", "json"), ("block", "")):
        if chosen := [content for found, content in blocks if found == label]:
            return source, chosen
    return ("whole response" if tagged is None else "answer tag"), [text]


def _tagged(text: str) -> str | None:
    """Return what is between the last opening `<answer>` that is closed and its closing tag."""
    start: int | None = None
    last: str | None = None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start is not None:
            last, start = text[start : tag.start()], None
    return last


def _blocks(text: str) -> list[tuple[str, str]]:
    """Return (label, content) of the fenced blocks; one that is not closed runs to the end."""
    if "```" not in text and "~~~" not in text:
        return []
    blocks: list[tuple[str, str]] = []
    fence, label, lines = "", "", list[str]()
    for line in text.split("\n"):
        match = _FENCE.fullmatch(line.rstrip("\r"))
        if not fence:
            if match:
                fence, label, lines = match[1], match[2].lower(), []
        elif match and not match[2] and match[1].startswith(fence):
            blocks.append((label, "\n".join(lines)))
            fence = ""
        else:
            lines.append(line)
    if fence:
        blocks.append((label, "\n".join(lines)))
    return blocks


VERIFIER = Verifier(
    name="json_schema",
    version=f"2+jsonschema-{version('jsonschema')}",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.json_schema_worker:work",
    budget_s=5.0,
)
