"""The tone of texts: in English, and clearly not in other languages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import MemoryFile, Unsupported, WorkLimits
from secure_delivery_intelligence.languages import guess
from secure_delivery_intelligence.tone import Tone

NONE = MemoryFile(b"", "text/plain", "text")
TONE = Tone()


def emotions(text: str, language: str = "auto") -> dict[str, float]:
    found: dict[str, float] = TONE.detect(NONE, {"text": text, "language": language}, WorkLimits())["emotions"]
    assert list(found) == ["Positive", "Negative", "Neutral", "Mixed"]
    assert math.isclose(math.fsum(found.values()), 1) and min(found.values()) >= -1e-12
    return found


def strongest(text: str, language: str = "auto") -> str:
    found = emotions(text, language)
    return max(found, key=lambda name: found[name])


JUDGED = [
    ("this product is outstanding", "Positive"),  # of the documentation
    ("quick brown fox", "Neutral"),  # of the documentation
    ("I love it, it works great!", "Positive"),
    ("Not good at all.", "Negative"),
    ("I hate this terrible product.", "Negative"),
    ("The meeting is on Tuesday at ten.", "Neutral"),
    ("The food was wonderful. The service was horrible and rude.", "Mixed"),
    ("The rooms are lovely, but the staff was rude and the shower was broken.", "Negative"),
    ("😀😀", "Positive"),
]


@pytest.mark.parametrize(("text", "tone"), JUDGED)
def test_the_strongest_of_the_four_is_what_a_reader_says(text: str, tone: str) -> None:
    assert strongest(text) == tone


def test_a_text_without_a_word_is_neutral() -> None:
    assert emotions("1234 --- !!! ...")["Neutral"] > 0.9
    assert emotions(".", "en") == {"Positive": 0, "Negative": 0, "Neutral": 1, "Mixed": 0}


def test_a_stronger_word_gives_a_larger_share() -> None:
    mild, strong = (emotions(text)["Positive"] for text in ("It was okay.", "It was absolutely fantastic!!!"))
    assert mild < strong


def test_the_named_language_is_followed() -> None:
    """Who says that a text is English gets it judged as English, whatever it looks like."""
    assert emotions("la gata est good", "en")["Positive"] > 0.8


OTHERS = {
    "es": "El servicio es muy bueno y la comida está deliciosa, pero es caro.",
    "fr": "Le service est très bon et la cuisine est délicieuse.",
    "de": "Der Service ist sehr gut und das Essen war köstlich.",
    "it": "Il servizio è molto buono e la cucina era ottima.",
    "pt": "O serviço é muito bom, mas a comida não é.",
    "ar": "الخدمة ممتازة والطعام لذيذ",
    "hi": "सेवा बहुत अच्छी है",
    "ja": "サービスはとても良いです。東京",
    "ko": "서비스가 아주 좋아요",
    "zh": "服务非常好，Apple 的产品也很好",
}


@pytest.mark.parametrize("language", sorted(OTHERS))
def test_a_language_without_a_word_list_is_refused_by_name(language: str) -> None:
    """Said or guessed: the answer names the language, and those there are."""
    for named in (language, "auto"):
        with pytest.raises(Unsupported) as caught:
            emotions(OTHERS[language], named)
        assert f"language {language} " in caught.value.public
        assert "English (en)" in caught.value.public


def test_traditional_chinese_is_named_as_asked() -> None:
    with pytest.raises(Unsupported, match="zh-TW"):
        emotions("服務很好", "zh-TW")


@pytest.mark.parametrize(("language", "text"), [*OTHERS.items(), ("en", "It isn\u2019t the best, but we like it.")])
def test_the_language_is_told_by_script_and_common_words(language: str, text: str) -> None:
    assert guess(text) == language


@given(st.text(max_size=300))
def test_any_text_gets_shares_of_one_or_a_clear_refusal(text: str) -> None:
    try:
        emotions(text)
    except Unsupported:
        assert guess(text) != "en"


@given(st.lists(st.sampled_from(["good", "bad", "not", "very", "!", ". ", "but", "GREAT", "awful", ":)", "\n"]), max_size=40))
def test_any_mixture_of_loaded_words_gets_shares_of_one(words: list[str]) -> None:
    emotions(" ".join(words), "en")
