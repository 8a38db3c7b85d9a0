"""docs/lectures.md: each topic points to a screen, station or tour of the page that exists, by its name and address."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

import nextword
from documents import ROOT

STATIC = Path(nextword.__file__).parent / "page" / "static"
TEXTS = json.loads((STATIC / "text" / "en.json").read_text("utf-8"))
TOPICS = re.split(r"^## (?=\d+\. )", (ROOT / "docs" / "lectures.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
POINTER = re.compile(r"(screen|station|tour)\s+\*\*(.+?)\*\*\s+\(`(.+?)`", re.DOTALL)
FIELDS = {"screen": "screen", "station": "open", "tour": "tour"}


def keys(file, name):
    """The keys of an object in a module."""
    found = re.search(rf"const {name} = \{{(.*?)\n\}};", (STATIC / file).read_text("utf-8"), re.DOTALL)
    return re.findall(r"(?:^|, )\s*(\w+):", found[1], re.MULTILINE)


def titles():
    """{(kind, what its address calls it): its title on the page}."""
    tours = {path.stem: len(json.loads(path.read_text("utf-8"))["cards"]) for path in (STATIC / "tours").glob("*.json")}
    return {**{("screen", name): TEXTS[f"nav.{name}"] for name in keys("app.js", "SCREENS")},
            **{("station", name): TEXTS[f"walk.{name}.title"] for name in keys("station.js", "STATIONS")},
            **{("tour", f"{name}.{card}"): TEXTS[f"tour.{name}"]
               for name, count in tours.items() for card in range(1, count + 1)}}


def pointed(topic):
    found = re.search(r"^\*On the page:\*(.*?)\n\n", topic, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_there_are_six_screens_seven_stations_and_six_tours():
    kinds = [kind for kind, _ in titles()]
    assert (kinds.count("screen"), kinds.count("station")) == (6, 7)
    assert len({name.split(".")[0] for kind, name in titles() if kind == "tour"}) == 6


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.split("\n")[0])
def test_a_topic_points_to_places_of_the_page_by_their_names_and_addresses(topic):
    known = titles()
    fields = set(re.findall(r"(\w+): \[\w+, ", (STATIC / "state.js").read_text("utf-8")))
    pointers = POINTER.findall(pointed(topic))
    assert pointers
    assert len(pointers) == len(re.findall(r"\*\*", pointed(topic))) // 2
    for kind, title, address in pointers:
        given = dict(parse_qsl(address, strict_parsing=True))
        assert set(given) <= fields
        assert known[kind, given[FIELDS[kind]]] == " ".join(title.split())


def test_there_are_fourteen_topics():
    assert len(TOPICS) == 14
