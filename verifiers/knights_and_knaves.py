r"""Knights and knaves: who is which, every person exactly once.

The gold is `{"names": ["Ava", "Ben"], "knights": [true, false]}`, with `"roles": ["saint", "sinner"]` for other
words. The answer is read from the last `<answer>` tag, box or heading ("Answer:", "Conclusion"), else from
the whole response. Sentences that say nothing but who is what are read; all others are not:

    Ava is a knight.   Ava and Ben are knights, and Cid is a knave.   (1) Ava: knight (2) Ben - knave
    | Ava | knight |   Knights: Ava, Ben. Knaves: none.   All of them are knaves.   The others are knaves.

"Is not a knight" makes a knave. Consecutive sentences of this kind are one statement. The last statement that
gives everybody exactly one role is the answer, unless something later contradicts it or takes it back, or
it is one of several that are offered side by side.
"""

import re
from collections import deque
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Outcome, Status, Verifier
from verifiers.extract import candidates, strip_reasoning
from verifiers.normal_form import normal_form
from verifiers.visible import shown

MAX_PEOPLE = 50
MAX_SECTION = 20_000
"""Characters at the end of the answer section that are read."""

_FORM = 'a knights_and_knaves ground_truth is JSON text such as {"names": ["Ava", "Ben"], "knights": [true, false]}'

_ROLES = ("knight", "knave")
_TAG = re.compile(r"<answer>", re.IGNORECASE)
_HEADING = re.compile(
    r"(?:^|\n)[ \t>#*_]{0,12}(?:the[ ])?(?:(?:final|correct|complete)[ ])?(?:answer|conclusion|solution|result)s?"
    r"(?:[*_ \t]{0,4}(?::|is:|are:)|[ \t#*_]{0,8}(?=\n))",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed)(?=\s*\{)|\\[()\[\],; ]|\\\\|\\quad\b")
_NOISE = re.compile(r"[*_`$#>{}\"“”]")
_RULER = re.compile(r"[ \t|:+=-]*")

# What ends a statement's standing when it comes after it, and what makes two statements alternatives.
_TAKES_BACK = re.compile(
    r"\b(?:or|either|alternative(?:ly)?|otherwise|maybe|perhaps|possibly|probably|might|unsure|uncertain|guess(?:ing)?"
    r"|doubt(?:ful)?|unlikely|false|untrue|(?:second|other|further) (?:answer|solution)|wait|actually|wrong"
    r"|mistaken?|incorrect|impossible|opposite|reversed?|vice|swap(?:ped)?|not|n't|cannot|another|instead)\b"
    r"|(?<!no )(?<!any )(?<!without )\bcontradict",
    re.IGNORECASE,
)
# What makes a statement one of something else than the answer, on the line just before it.
_DENIES = re.compile(
    r"\b(?:not|never|none|wrong|false|untrue|lie|lies|incorrect|impossible|cannot|opposite|suppose|assume|assuming|if"
    r"|unless|contradict\w*)\b|n't\b",
    re.IGNORECASE,
)
_REPLACES = re.compile(
    r"\b(?:wait|actually|correction|corrected|mistake|wrong|incorrect|instead|contradict\w*|however|so|therefore|thus"
    r"|hence|final(?:ly)?|conclusion|conclude|answer)\b",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(
    r"\b(?:(?:second|other|further) (?:answer|solution)|or|either|alternative(?:ly)?|option"
    r"|possibilit(?:y|ies)|possibly|case|scenario|another|maybe|perhaps)\b",
    re.IGNORECASE,
)

_LEAD = (
    r"(?:so|therefore|thus|hence|finally|in conclusion|to conclude|in summary|we conclude|we have|i conclude"
    r"|it follows|this means|that|as follows|(?:the )?(?:final |correct |only )?(?:answer|solution|conclusion) is)\b"
)
_WORDS = {
    "be": r"(?:is|are|must be|was|were)(?=\b|n't)|'s\b",
    "not": r"not\b|n't\b",
    "article": r"(?:a|an|the|indeed|also|definitely)\b",
    "everybody": r"(?:all(?: (?:of them|of the (?:people|inhabitants)|inhabitants|people|persons|of us"
    r"|two|three|four|five|six|seven|eight|nine|ten|[0-9]{1,2}))?|every(?:one|body))(?= (?:is|are|must be)\b)",
    "others": r"(?:(?:all )?(?:the )?(?:others?|rest|remaining(?: people| inhabitants)?)|every(?:one|body) else)\b",
    "both": r"(?:both|all)\b",
    "nobody": r"(?:none|nobody|no one)\b",
    "join": r"and\b|but\b|while\b|whereas\b|[,;&+/]",
    "number": r"\(?[0-9]{1,2}[.)](?![0-9])",
    "points": r"[:=→•—–-]",
    "bracket": r"[()\[\]]",
    "bar": r"\|",
    "header": r"(?:name|person|people|inhabitant|role|type|identity)s?\b",
}


class Gold(NamedTuple):
    """The people, whether each is a knight, the two role words; patterns for the grammar's words, roles, and names."""

    names: tuple[str, ...]
    knights: tuple[bool, ...]
    roles: tuple[str, str]
    words: re.Pattern[str]
    role_word: re.Pattern[str]
    name_word: re.Pattern[str]


class Token(NamedTuple):
    """One word of the grammar: its kind, and what it stands for (the index of a person, or of a role)."""

    kind: str
    value: int = 0


class Statement(NamedTuple):
    """Consecutive sentences that only say who is what; `roles` is None where they cannot be read or contradict."""

    roles: dict[int, bool] | None
    between: str


class _Unreadable(ValueError):
    """A statement is not in the grammar, or contradicts itself."""


def parse_gold(value: Any) -> Gold:
    """Read a gold; raises `BadGold` unless it gives each of several different names a role."""
    if not isinstance(value, dict) or not {"names", "knights"} <= set(value) <= {"names", "knights", "roles"}:
        raise BadGold(_FORM)
    names, knights, roles = value["names"], value["knights"], value.get("roles", list(_ROLES))
    if not isinstance(names, list) or not isinstance(knights, list) or not 1 <= len(names) <= MAX_PEOPLE:
        message = f"names and knights must be lists of 1 to {MAX_PEOPLE}; {_FORM}"
        raise BadGold(message)
    if len(names) != len(knights) or not all(isinstance(knight, bool) for knight in knights):
        message = f"knights must hold true or false for each of the {len(names)} names; {_FORM}"
        raise BadGold(message)
    if not isinstance(roles, list) or len(roles) != 2 or not all(isinstance(role, str) for role in roles):
        message = 'roles must be two words, for those who tell the truth and for those who lie: ["knight", "knave"]'
        raise BadGold(message)
    folded = tuple(_fold(name) if isinstance(name, str) else "" for name in names)
    two = (_fold(roles[0]), _fold(roles[1]))
    for word in (*folded, *two):
        if not re.fullmatch(r"[^\W\d_]+(?:[ .'’-][^\W\d_]+)*", word):
            message = f"{word[:40]!r} is no name or role; {_FORM}"
            raise BadGold(message)
    if len(set(folded)) != len(folded) or len({*two, *folded}) != len(folded) + 2:
        message = f"names and roles must all be different: {sorted((*folded, *two))}"
        raise BadGold(message)
    synonyms = ("|truth[ -]?tellers?", "|liars?") if two == _ROLES else ("", "")
    role = "|".join(rf"(?P<role{index}>{re.escape(word)}s?{synonyms[index]})" for index, word in enumerate(two))
    # The longest name first, so that "mary ann" is not read as "mary".
    ordered = sorted(enumerate(folded), key=lambda item: (-len(item[1]), item[1]))
    people = "|".join(rf"(?P<name{index}>{re.escape(name)})" for index, name in ordered)
    rest = "|".join(rf"(?P<{kind}>{pattern})" for kind, pattern in _WORDS.items())
    if clash := next((name for name in folded if re.fullmatch(f"{_LEAD}|{rest}", name)), None):
        message = f"the name {clash!r} is a word that answers are made of"
        raise BadGold(message)
    words = re.compile(rf"\s+|(?:{people})(?!\w)|(?:{role})(?!\w)|(?P<lead>{_LEAD})|{rest}")
    role_word, name_word = (re.compile(rf"(?<!\w)(?:{pattern})(?!\w)") for pattern in (role, people))
    return Gold(tuple(names), tuple(knights), two, words, role_word, name_word)


def _fold(text: str) -> str:
    return normal_form("NFC", text).replace("’", "'").casefold().strip()


def check(response: str, gold: Gold, _prompt: str) -> Outcome:
    """Find the statement that answers and compare it with the gold."""
    source, section = _section(shown(strip_reasoning(response)), gold)
    if len(section) > MAX_SECTION:
        section = section[-MAX_SECTION:].partition("\n")[2]  # not from the middle of a sentence
    statements, after = _statements(_fold(_plain(section)), gold)
    answer = _answer(statements, after, len(gold.names))
    if source == "whole response" and not isinstance(answer, str) and _speaks_of_roles(after, gold):
        answer = "the last complete statement is not the end: later text speaks of roles and cannot be read"
    if isinstance(answer, str):
        return Outcome(Status.unparsed, None, f"{source}: {answer}")
    roles = tuple(answer[index] for index in range(len(gold.names)))
    named = ", ".join(f"{name}: {gold.roles[not role]}" for name, role in zip(gold.names, roles, strict=True))
    if roles == gold.knights:
        return Outcome(Status.correct, named, source)
    wrong = [name for name, role, knight in zip(gold.names, roles, gold.knights, strict=True) if role != knight]
    return Outcome(Status.incorrect, named, f"{source}: wrong about {', '.join(wrong)}")


def _section(text: str, gold: Gold) -> tuple[str, str]:
    """Return the name of the last place that announces an answer, and the text there."""
    found: list[tuple[int, str, str]] = [(-1, "whole response", text)]
    if tag := _last(_TAG, text):
        found.append((tag.start(), "answer tag", text[tag.end() :].partition("</")[0]))
    if heading := _last(_HEADING, text):
        found.append((heading.start(), "heading", text[heading.end() :]))
    for candidate in candidates(text):
        if candidate.source == "boxed" and gold.role_word.search(_fold(candidate.text)):
            start = text.rfind(candidate.text)
            found.append((start, "boxed", candidate.text))
            break
    return max(found, key=lambda item: item[0])[1:]


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = deque(pattern.finditer(text), maxlen=1)
    return last[0] if last else None


def _speaks_of_roles(text: str, gold: Gold) -> bool:
    return any(gold.role_word.search(line) and gold.name_word.search(line) for line in text.split("\n"))


def _plain(text: str) -> str:
    return _NOISE.sub(" ", _COMMAND.sub(" ", text))


def _statements(text: str, gold: Gold) -> tuple[list[Statement], str]:
    """Return the statements of a folded text, each with the text before it, and the text after the last."""
    statements: list[Statement] = []
    tokens: list[Token] = []
    between = ""
    for sentence in _sentences(text):
        if _RULER.fullmatch(sentence):
            continue
        words = _tokens(sentence, gold)
        if words is not None:
            tokens += [*words, Token("stop")]
            continue
        if tokens:
            statements.append(_statement(tokens, between, len(gold.names)))
            tokens, between = [], ""
        between += sentence + "\n"
    if tokens:
        statements.append(_statement(tokens, between, len(gold.names)))
        between = ""
    return statements, between


def _sentences(text: str) -> list[str]:
    return re.split(r"\n|(?<=[^\W\d_])[.!](?=\s|$)|(?<=[)\]])[.!](?=\s|$)", text)


def _tokens(sentence: str, gold: Gold) -> list[Token] | None:
    """Return the words of a sentence, or None when it holds anything outside the grammar."""
    tokens: list[Token] = []
    position = 0
    while position < len(sentence):
        match = gold.words.match(sentence, position)
        if match is None:
            return None
        position = match.end()
        kind = match.lastgroup
        if kind is None or kind in ("lead", "bracket", "header"):
            continue
        if kind.startswith(("name", "role")):
            tokens.append(Token(kind[:4], int(kind[4:])))
        else:
            tokens.append(Token(kind))
    return tokens


def _statement(tokens: list[Token], between: str, people: int) -> Statement:
    try:
        return Statement(_Reader(tokens, people).read(), between)
    except _Unreadable:
        return Statement(None, between)


class _Reader:
    """Reads the tokens of one statement from left to right into roles."""

    def __init__(self, tokens: list[Token], people: int) -> None:
        self.tokens = [token for token in tokens if token.kind != "article"]
        self.people = people
        self.position = 0
        self.roles: dict[int, bool] = {}

    def read(self) -> dict[int, bool]:
        while self.skip("join", "number", "stop", "bar", "points"):
            kind = self.kind()
            if kind == "role":
                self.group()
            elif kind in ("name", "both", "everybody", "others"):
                self.persons()
            else:
                raise _Unreadable
        return self.roles

    def persons(self) -> None:
        """Read "Ava and Ben are knights", "Ava: knight", "the others are knaves"."""
        subjects = self.subjects()
        self.skip("points", "bar")
        self.skip("be")
        negated = self.kind() == "not"
        if negated:
            self.take()
            if len(subjects) != 1 or self.kind() == "both":
                raise _Unreadable  # "are not both knights" leaves open which of them is not
        self.skip("both")
        if self.kind() != "role":
            raise _Unreadable
        role = self.take()
        while self.kind() == "role" and self.tokens[self.position] == role:
            self.take()  # "knight (truth-teller)"
        self.assign(subjects, knight=(role.value == 0) != negated)

    def subjects(self) -> list[int]:
        if self.kind() == "everybody":
            self.take()
            return list(range(self.people))
        if self.kind() == "others":
            self.take()
            return [person for person in range(self.people) if person not in self.roles]
        return self.names()

    def names(self) -> list[int]:
        """Read names with nothing but joints between them; joints after the last name are left."""
        found: list[int] = []
        self.skip("both")
        end = self.position
        while self.skip("join") and self.kind() == "name":
            found.append(self.take().value)
            end = self.position
        self.position = end
        return found

    def group(self) -> None:
        """Read "Knights: Ava, Ben" and "The knaves are Cid and Dee", also with one name a line."""
        knight = self.take().value == 0
        if self.kind() not in ("points", "be", "bar"):
            raise _Unreadable
        self.skip("points", "be", "bar", "stop", "number")
        if self.kind() == "nobody":
            self.take()
            return
        if self.kind() == "others":
            self.assign(self.subjects(), knight=knight)
            return
        members: list[int] = []
        while True:
            before = self.position
            self.skip("number", "points", "join", "stop")
            if self.kind() != "name":
                break
            more = self.names()
            if self.kind() in ("be", "points", "role", "bar", "not"):
                # These names begin the next sentence, which must be one of its own.
                if not any(token.kind == "stop" for token in self.tokens[before : self.position]):
                    raise _Unreadable
                self.position = before
                break
            members += more
        if not members:
            raise _Unreadable
        self.assign(members, knight=knight)

    def assign(self, persons: list[int], *, knight: bool) -> None:
        if not persons or any(self.roles.setdefault(person, knight) is not knight for person in persons):
            raise _Unreadable

    def skip(self, *kinds: str) -> bool:
        """Pass over tokens of these kinds; return whether any token is left."""
        while self.kind() in kinds:
            self.position += 1
        return self.position < len(self.tokens)

    def kind(self) -> str:
        return self.tokens[self.position].kind if self.position < len(self.tokens) else ""

    def take(self) -> Token:
        self.position += 1
        return self.tokens[self.position - 1]


def _answer(statements: list[Statement], after: str, people: int) -> dict[int, bool] | str:
    """Return the roles that the last complete statement gives, or why there is no answer."""
    complete = [
        index for index, statement in enumerate(statements) if statement.roles and len(statement.roles) == people
    ]
    if not complete:
        if any(statement.roles is None for statement in statements):
            return "a statement contradicts itself or cannot be read"
        return "no statement gives everybody a role"
    last = complete[-1]
    answer = statements[last].roles
    assert answer is not None
    later = statements[last + 1 :]
    if any(statement.roles is None or statement.roles.items() - answer.items() for statement in later):
        return "the last complete statement is contradicted later"
    if _TAKES_BACK.search("\n".join([*(statement.between for statement in later), after])):
        return "the last complete statement is taken back, or one of several"
    lead = statements[last].between.rstrip().rpartition("\n")[2].rstrip(" )]")
    if lead.endswith((":", "—")) and _DENIES.search(lead):
        return "the last complete statement is denied, or supposed"
    if len(complete) > 1 and statements[complete[-2]].roles != answer:
        between = "\n".join(statement.between for statement in statements[complete[-2] + 1 : last + 1])
        if _ALTERNATIVE.search(between) or not _REPLACES.search(between):
            return "several different statements are offered"
    return answer


VERIFIER = Verifier(name="knights_and_knaves", version="2", parse_gold=parse_gold, check=check)
