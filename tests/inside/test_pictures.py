"""inside/pictures.py, tables.py: well-formed, escaped, without script, with scale and unit; a PNG is one."""

from __future__ import annotations

import base64
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.inside.pictures import Bars, HeatMap
from nextword.inside.png import png, pooled
from nextword.inside.tables import MINUS, Table

HOSTILE = "</svg></script><img src=x onerror=alert(1)>\u202e\x00'\"&"


def parsed(html):
    """As XML, which every picture and table is, so that nothing in it can end a tag early."""
    return ElementTree.fromstring(f"<body>{html}</body>")


def tags(tree):
    return {element.tag.rpartition("}")[2] for element in tree.iter()}


@given(st.integers(1, 5), st.integers(1, 5), st.text(max_size=9), st.sampled_from(["signed", "amount", "share"]))
def test_a_heat_map_is_well_formed_whatever_its_texts_say(rows, cols, text, scale):
    values = np.random.default_rng(rows).standard_normal((rows, cols))
    values.flat[0] = np.nan
    html = HeatMap(values, [text] * rows, [HOSTILE] * cols, text, text, scale, text, text).html()
    tree = parsed(html)
    assert not tags(tree) & {"script", "img", "iframe", "object"}
    assert not any(key.startswith("on") or key == "href" for element in tree.iter() for key in element.attrib)


def test_a_picture_carries_domain_unit_and_ramp():
    html = HeatMap(np.array([[1.0, -2.0]]), title="t", unit="change of the logit").html()
    assert f"{MINUS}2 <svg" in html
    assert "colour ramp" in html
    assert "change of the logit" in html
    assert f"negative: {MINUS}" in html


def test_a_negative_cell_has_a_mark_beside_its_colour():
    signs = [len(re.findall(r"M[\d.]+ [\d.]+h", HeatMap(np.array([[a, 2.0]])).html())) for a in (-2.0, 1.0)]
    assert signs[0] == signs[1] + 1


def test_the_number_under_the_pointer_is_the_value():
    titles = [e.text for e in parsed(HeatMap(np.array([[0.123456, -7e-5]])).html()).iter() if e.tag.endswith("title")]
    assert titles == ["0, 0: 0.1235", f"0, 1: {MINUS}7e{MINUS}05"]


@pytest.mark.parametrize("side", [61, 340, 341, 1000])
def test_a_large_map_is_a_png_of_bounded_size_that_says_what_it_pooled(side):
    html = HeatMap(np.random.default_rng(0).standard_normal((side, side))).html()
    data = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    wide, high = struct.unpack(">II", data[16:24])
    assert wide == high <= 3 * 340
    assert ("the largest of" in html) == (side > 340)
    assert len(html) < 8_000_000


def test_a_png_has_the_pixels_that_it_was_given():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4)).astype(np.uint8)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        found += body if kind == b"IDAT" else b""
        at += 12 + size
    lines = np.frombuffer(zlib.decompress(found), np.uint8).reshape(5, 29)
    assert (lines[:, 0] == 0).all()
    np.testing.assert_array_equal(lines[:, 1:].reshape(pixels.shape), pixels)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_pooling_keeps_the_largest_of_each_square(rows, cols, step):
    x = np.random.default_rng(rows * cols).standard_normal((rows, cols))
    y = pooled(x, step)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            part = x[i * step : (i + 1) * step, j * step : (j + 1) * step]
            assert y[i, j] in part
            assert abs(y[i, j]) == np.abs(part).max()


def test_bars_point_by_sign_and_tell_their_numbers():
    html = Bars(["a", HOSTILE], [1.0, -2.0], "t", "logit").html()
    parsed(html)
    assert f"{MINUS}2" in html
    assert "full bar: 2" in html


def test_a_table_is_escaped_and_cut():
    html = Table([HOSTILE], [[HOSTILE, i] for i in range(500)], HOSTILE).html()
    assert not tags(parsed(html)) & {"script", "img"}
    assert html.count("<tr>") == 201
    assert "300 more rows" in html


@pytest.mark.parametrize(
    "ask",
    [lambda x: x.lens(watch=" girl"), lambda x: x.lens(), lambda x: x.attention(), lambda x: x.attention(1, 2),
     lambda x: x.attribution(" girl"), lambda x: x.attribution(" girl", " boy", by="head"),
     lambda x: x.attribution(" girl", by="neuron"), lambda x: x.attribution(" girl", by="source"),
     lambda x: x.neurons(1)],
)  # fmt: skip
def test_results_show_themselves(ask):
    x = nextword.load().inside("Once <b>upon</b> a 'time'")
    found = ask(x)
    tree = parsed(found._repr_html_())
    assert not tags(tree) & {"script", "b"}
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    import matplotlib as mpl
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ax = found.plot()
    assert ax.figure
    assert found.plot(ax=ax) is ax
    ax.figure.canvas.draw()
    plt.close(ax.figure)
