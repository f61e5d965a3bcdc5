"""The one door for text: well-formed as it enters, fit for a screen as it leaves, in one form where it is compared."""

from __future__ import annotations

import re
import unicodedata

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|\Z)"  # titles, links and other strings
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, movements
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""Controls, and what Unicode calls default ignorable."""


def well_formed(text: str) -> str:
    r"""The text with surrogate pairs joined, and halves that stand alone replaced by U+FFFD.

    JSON can carry half of a pair (`"\ud83d"`), which no encoder, database or tokeniser takes.

    >>> well_formed("\ud83d\ude00"), well_formed("cut \ud83d")
    ('😀', 'cut �')
    """
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def well_formed_json(value: object) -> object:
    """A value read from JSON with every text in it well-formed, keys too."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [well_formed_json(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(str(name)): well_formed_json(item) for name, item in value.items()}
    return value


def printable(text: str) -> str:
    r"""The text as a terminal may show it: no escape sequences, no control characters but line ends and tabs.

    Marks that turn the direction of writing are taken out too, since they can make a line read as another.

    >>> printable("\x1b[31mred\x1b[0m\a")
    'red'
    """
    text = well_formed(text)
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _ESCAPE.sub("", text.replace("\r\n", "\n")))


def comparable(text: str) -> str:
    """The text in the one form in which texts are compared: canonically composed (NFC).

    Source: Unicode Standard Annex 15.
    """
    return unicodedata.normalize("NFC", text)


def visible(text: str) -> str:
    r"""The text without characters that no reader sees, such as a zero-width space, and without white space around it.

    >>> visible("\u200b \ufeff"), visible("a\u200bb ")
    ('', 'ab')
    """
    return (text if text.isascii() and text.isprintable() else _UNSEEN.sub("", text)).strip()


_THINKING = re.compile(r"\A\s*(?:<think(?:ing)?>)?((?:(?!<think).)*?)</think(?:ing)?>\s*", re.DOTALL | re.IGNORECASE)
_UNENDED = re.compile(r"\A\s*<think(?:ing)?>", re.IGNORECASE)


def split_thinking(text: str) -> tuple[str, str]:
    r"""An answer as its thinking, which some servers leave in it, and the rest.

    The opening tag may be missing, as where a chat template writes it; an answer that is cut while it thinks has no
    rest.

    >>> split_thinking("<think>two, or three?</think>\nTwo.")
    ('two, or three?', 'Two.')
    """
    if "<think" not in text[:64].lower() and "</think" not in text.lower():
        return "", text
    if found := _THINKING.match(text):
        return found[1].strip(), text[found.end() :]
    return (text, "") if _UNENDED.match(text) else ("", text)
