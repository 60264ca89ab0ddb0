"""Colours as transformation URLs write them.

Knows: the names of CSS Color Module Level 4, the numbered greys, hexadecimal digits without `#`.
Must not know: pictures, Pillow (this module is imported by the server process).

Reading looks names up and counts digits; there is no pattern that could backtrack (compare CVE-2021-23437).
"""

from __future__ import annotations

from secure_delivery.plugin import Kind, Value

#: Red, green, blue, alpha; 0 to 255 each. A plain tuple, because options travel as JSON.
Colour = tuple[int, int, int, int]

WHITE: Colour = (255, 255, 255, 255)
TRANSPARENT: Colour = (0, 0, 0, 0)

_DIGITS = frozenset("0123456789abcdef")
_LONGEST = 24  # characters of any spelling; the longest name has 20

_NAMES = """
    aliceblue:f0f8ff antiquewhite:faebd7 aqua:00ffff aquamarine:7fffd4 azure:f0ffff beige:f5f5dc bisque:ffe4c4
    black:000000 blanchedalmond:ffebcd blue:0000ff blueviolet:8a2be2 brown:a52a2a burlywood:deb887 cadetblue:5f9ea0
    chartreuse:7fff00 chocolate:d2691e coral:ff7f50 cornflowerblue:6495ed cornsilk:fff8dc crimson:dc143c cyan:00ffff
    darkblue:00008b darkcyan:008b8b darkgoldenrod:b8860b darkgray:a9a9a9 darkgreen:006400 darkgrey:a9a9a9
    darkkhaki:bdb76b darkmagenta:8b008b darkolivegreen:556b2f darkorange:ff8c00 darkorchid:9932cc darkred:8b0000
    darksalmon:e9967a darkseagreen:8fbc8f darkslateblue:483d8b darkslategray:2f4f4f darkslategrey:2f4f4f
    darkturquoise:00ced1 darkviolet:9400d3 deeppink:ff1493 deepskyblue:00bfff dimgray:696969 dimgrey:696969
    dodgerblue:1e90ff firebrick:b22222 floralwhite:fffaf0 forestgreen:228b22 fuchsia:ff00ff gainsboro:dcdcdc
    ghostwhite:f8f8ff gold:ffd700 goldenrod:daa520 gray:808080 green:008000 greenyellow:adff2f grey:808080
    honeydew:f0fff0 hotpink:ff69b4 indianred:cd5c5c indigo:4b0082 ivory:fffff0 khaki:f0e68c lavender:e6e6fa
    lavenderblush:fff0f5 lawngreen:7cfc00 lemonchiffon:fffacd lightblue:add8e6 lightcoral:f08080 lightcyan:e0ffff
    lightgoldenrodyellow:fafad2 lightgray:d3d3d3 lightgreen:90ee90 lightgrey:d3d3d3 lightpink:ffb6c1
    lightsalmon:ffa07a lightseagreen:20b2aa lightskyblue:87cefa lightslategray:778899 lightslategrey:778899
    lightsteelblue:b0c4de lightyellow:ffffe0 lime:00ff00 limegreen:32cd32 linen:faf0e6 magenta:ff00ff maroon:800000
    mediumaquamarine:66cdaa mediumblue:0000cd mediumorchid:ba55d3 mediumpurple:9370db mediumseagreen:3cb371
    mediumslateblue:7b68ee mediumspringgreen:00fa9a mediumturquoise:48d1cc mediumvioletred:c71585
    midnightblue:191970 mintcream:f5fffa mistyrose:ffe4e1 moccasin:ffe4b5 navajowhite:ffdead navy:000080
    oldlace:fdf5e6 olive:808000 olivedrab:6b8e23 orange:ffa500 orangered:ff4500 orchid:da70d6 palegoldenrod:eee8aa
    palegreen:98fb98 paleturquoise:afeeee palevioletred:db7093 papayawhip:ffefd5 peachpuff:ffdab9 peru:cd853f
    pink:ffc0cb plum:dda0dd powderblue:b0e0e6 purple:800080 rebeccapurple:663399 red:ff0000 rosybrown:bc8f8f
    royalblue:4169e1 saddlebrown:8b4513 salmon:fa8072 sandybrown:f4a460 seagreen:2e8b57 seashell:fff5ee
    sienna:a0522d silver:c0c0c0 skyblue:87ceeb slateblue:6a5acd slategray:708090 slategrey:708090 snow:fffafa
    springgreen:00ff7f steelblue:4682b4 tan:d2b48c teal:008080 thistle:d8bfd8 tomato:ff6347 turquoise:40e0d0
    violet:ee82ee wheat:f5deb3 white:ffffff whitesmoke:f5f5f5 yellow:ffff00 yellowgreen:9acd32
"""


def _opaque(digits: str) -> Colour:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue, 255


def _named() -> dict[str, Colour]:
    table = {name: _opaque(digits) for name, _, digits in (entry.partition(":") for entry in _NAMES.split())}
    for percent in range(101):
        level = (percent * 255 + 50) // 100
        table[f"gray{percent}"] = table[f"grey{percent}"] = (level, level, level, 255)
    return table | {"transparent": TRANSPARENT, "none": TRANSPARENT}


NAMED = _named()


def read_colour(value: Value) -> Colour:
    """The colour a value spells, in any case: a name, or 3, 6 or 8 hexadecimal digits (8: red, green, blue, alpha).

    Raises `ValueError` for anything else. Rule: Filestack documentation, colours of processing tasks.
    """
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError
    text = value.lower()
    if text in NAMED:
        return NAMED[text]
    if not _DIGITS.issuperset(text):
        raise ValueError
    if len(text) == 3:
        return _opaque("".join(digit * 2 for digit in text))
    if len(text) == 6:
        return _opaque(text)
    if len(text) == 8:
        return (*_opaque(text[:6])[:3], int(text[6:], 16))
    raise ValueError


def colour() -> Kind:
    """The kind of a parameter that is a colour."""
    return Kind(read_colour, "a CSS colour name, gray0 to gray100, transparent, or 3, 6 or 8 hexadecimal digits without '#'")
