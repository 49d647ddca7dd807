"""What a JSON Schema must be to serve as a gold, and its form for the worker.

A schema is refused (`BadGold`) when it is invalid, refers outside itself, loops without consuming anything,
multiplies beyond a limit, has a pattern that cannot be read, or accepts every trivial document.
"""

import json
import re
from functools import cache
from typing import Any

from jsonschema import SchemaError, ValidationError, validators  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from verifiers import json_text
from verifiers.contract import BadGold

MAX_SCHEMA = 100_000
"""Characters of a schema as JSON text."""

MAX_PATTERN = 2_000
"""Characters of a regular expression in a schema."""

MAX_VISITS = 10_000
"""Subschemas that may look at one value: what `$ref`, `allOf` and the like multiply to."""

MAX_CHAIN = 100
"""Subschemas that may look at one value one inside another."""

DEFAULT_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DIALECTS = (
    DEFAULT_DIALECT,
    "https://json-schema.org/draft/2019-09/schema",
    *(f"http://json-schema.org/draft-0{number}/schema" for number in (7, 6, 4)),
)
TRIVIAL: tuple[Any, ...] = (None, False, 0, "", [], {})
"""A schema that accepts all of these asks for nothing."""

_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")


def prepare(schema: Any) -> str:
    """Return the schema as JSON text with its patterns in Python's dialect; raises `BadGold`."""
    text = _serialised(schema)
    schema = json.loads(text)
    if schema in (False, {"not": {}}, {"not": True}):
        message = "the schema accepts nothing"
        raise BadGold(message)
    dialect = _dialect(schema)
    try:
        validators.validator_for({"$schema": dialect}).check_schema(schema)
    except SchemaError as error:
        message = f"not a valid schema at {error.json_path}: {error.message[:120]}"
        raise BadGold(message) from None
    _Walk(schema, dialect).run()
    prepared = json.dumps(schema)
    validator = validator_of(prepared)
    if all(validator.is_valid(document) for document in TRIVIAL):
        message = 'the schema accepts null, false, 0, "", [] and {}, so it asks for nothing; give at least a type'
        raise BadGold(message)
    return prepared


def validator_of(prepared: str) -> Any:
    """Return the validator of a prepared schema: no retrieval, exact numbers, uniqueness by canonical text."""
    schema = json_text.exact(json.loads(prepared))
    registry: Registry[Any] = Registry()
    return _class_of(_dialect(schema))(schema, registry=registry)


@cache
def _class_of(dialect: str) -> Any:
    # Once a dialect: a class a schema is slow to make, and memory grew by half a kilobyte with each.
    base = validators.validator_for({"$schema": dialect})
    return validators.extend(base, {"uniqueItems": _unique_items})


def python_pattern(pattern: str) -> str:
    r"""Return a schema's pattern as Python must read it: `$` is the very end, `\d`, `\w` and `\b` are ASCII."""
    translated = re.sub(
        r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$",
        lambda match: r"\Z" if match[0] == "$" else match[0],
        pattern,
        flags=re.DOTALL,
    )
    return f"(?a:{translated})"


def _serialised(schema: Any) -> str:
    if not isinstance(schema, dict | bool):
        message = f"a schema is an object, not {type(schema).__name__}"
        raise BadGold(message)
    try:
        text = json.dumps(schema, allow_nan=False)
    except ValueError:
        message = "the schema holds a number beyond the range of a double"
        raise BadGold(message) from None
    if len(text) > MAX_SCHEMA or json_text.depth(text) > json_text.MAX_DEPTH:
        message = f"the schema has more than {MAX_SCHEMA} characters, or nests deeper than {json_text.MAX_DEPTH}"
        raise BadGold(message)
    return text


def _dialect(schema: Any) -> str:
    dialect = schema.get("$schema", DEFAULT_DIALECT) if isinstance(schema, dict) else DEFAULT_DIALECT
    dialect = dialect.removesuffix("#") if isinstance(dialect, str) else dialect
    if dialect not in _DIALECTS:
        message = f"$schema is {str(dialect)[:80]!r}; known are {', '.join(_DIALECTS)}"
        raise BadGold(message)
    return str(dialect)


def _unique_items(validator: Any, unique: Any, instance: Any, _schema: Any) -> Any:
    # The library sorts, and misses equal items with true between two 1s; this is also linear.
    if unique and validator.is_type(instance, "array"):
        seen = {json_text.canonical(item) for item in instance}
        if len(seen) != len(instance):
            yield ValidationError("the array has equal items")


class _Walk:
    """One walk over the subschemas that can be reached: references, patterns, and how often a value is looked at."""

    def __init__(self, schema: Any, dialect: str) -> None:
        self.resource_of = specification_with(dialect).create_resource
        self.root: Resource[Any] = self.resource_of(schema)
        registry: Registry[Any] = Registry()
        self.resolver = registry.resolver_with_root(self.root)
        self.visits: dict[int, int] = {}
        self.walked: set[int] = set()
        self.factor = 3 if '"unevaluated' in json.dumps(schema) else 1  # these walk the same subschemas again

    def run(self) -> None:
        waiting = [(self.root, self.resolver)]
        while waiting:
            resource, resolver = waiting.pop()
            contents = resource.contents
            if not isinstance(contents, dict) or id(contents) in self.walked:
                continue
            self.walked.add(id(contents))
            for keyword in ("$dynamicRef", "$recursiveRef"):
                if keyword in contents:
                    message = f"{keyword} is not supported; use $ref"
                    raise BadGold(message)
            waiting += [(child, resolver.in_subresource(child)) for child in resource.subresources()]
            if (target := self.target(contents, resolver)) is not None:
                waiting.append(target)
            self.count(resource, resolver, 0)
            _translate(contents)

    def target(self, contents: dict[str, Any], resolver: Any) -> tuple[Resource[Any], Any] | None:
        """Return what a `$ref` leads to, or None when there is none."""
        reference = contents.get("$ref")
        if not isinstance(reference, str):
            return None
        if "/patternProperties/" in reference:
            message = f"the reference {reference[:80]!r} leads into patternProperties; put its target under $defs"
            raise BadGold(message)
        try:
            resolved = resolver.lookup(reference)
        except (Unresolvable, ValueError):
            message = f"the reference {reference[:80]!r} leads to nothing in the schema; remote ones are not followed"
            raise BadGold(message) from None
        if not isinstance(resolved.contents, dict | bool):
            message = f"the reference {reference[:80]!r} leads to what is no schema"
            raise BadGold(message)
        return self.resource_of(resolved.contents), resolved.resolver

    def count(self, resource: Resource[Any], resolver: Any, chain: int) -> int:
        """Return how many subschemas look at a value that this one looks at, itself included."""
        contents = resource.contents
        if not isinstance(contents, dict):
            return 1
        key = id(contents)
        if chain > MAX_CHAIN or self.visits.get(key) == 0:
            message = f"the schema refers to itself without end, or applies more than {MAX_CHAIN} schemas to one value"
            raise BadGold(message)
        if key not in self.visits:
            self.visits[key] = 0  # in progress
            total = 1
            for child, inside in self.in_place(resource, resolver):
                total += self.factor * self.count(child, inside, chain + 1)
            if total > MAX_VISITS:
                message = f"the schema applies more than {MAX_VISITS} subschemas to one value"
                raise BadGold(message)
            self.visits[key] = total
        return self.visits[key]

    def in_place(self, resource: Resource[Any], resolver: Any) -> list[tuple[Resource[Any], Any]]:
        contents = resource.contents
        found: list[tuple[Resource[Any], Any]] = []
        for keyword in _IN_PLACE:
            value = contents.get(keyword)
            if keyword in ("dependentSchemas", "dependencies"):
                value = list(value.values()) if isinstance(value, dict) else []
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, dict):
                    sub = self.resource_of(child)
                    found.append((sub, resolver.in_subresource(sub)))
        target = self.target(contents, resolver)
        return found if target is None else [*found, target]


def _translate(contents: dict[str, Any]) -> None:
    """Put the patterns of one subschema into Python's dialect, in place."""
    if isinstance(contents.get("pattern"), str):
        contents["pattern"] = _compiled(contents["pattern"])
    if isinstance(contents.get("patternProperties"), dict):
        named = contents["patternProperties"]
        contents["patternProperties"] = {_compiled(pattern): value for pattern, value in named.items()}


def _compiled(pattern: str) -> str:
    if len(pattern) > MAX_PATTERN:
        message = f"the pattern {pattern[:60]!r} has more than {MAX_PATTERN} characters"
        raise BadGold(message)
    translated = python_pattern(pattern)
    try:
        re.compile(translated)
    except (re.error, OverflowError, RecursionError) as error:
        message = f"the pattern {pattern[:60]!r} cannot be read: {error}"
        raise BadGold(message) from None
    return translated
