"""Tags and datasets by name, and which of them an application's metadata profile gives away.

Knows: EXIF 2.32, IPTC-IIM 4.2, the four profiles. Must not know: Pillow's readers, files.
"""

from __future__ import annotations

XMP_TAG, IPTC_TAG = 0x02BC, 0x83BB
EXIF_DIRECTORY, GPS_DIRECTORY = 0x8769, 0x8825

#: Blocks, not values: they are told in words of their own, or are somebody's secret format (maker notes repeat places).
NOT_SAID = frozenset({XMP_TAG, IPTC_TAG, 0x8649, 0x8773, 0x927C, 0x9C9A, 0xC4A5, 0xC634, 0xC65A})

#: Datasets of record 2, by number.
IPTC = {
    5: "ObjectName",
    25: "Keywords",
    55: "DateCreated",
    60: "TimeCreated",
    80: "By-line",
    90: "City",
    92: "Sub-location",
    95: "Province-State",
    100: "Country-Code",
    101: "Country-Name",
    105: "Headline",
    110: "Credit",
    115: "Source",
    116: "CopyrightNotice",
    120: "Caption",
}
IPTC_PLACES = frozenset({"City", "Sub-location", "Province-State", "Country-Code", "Country-Name"})

PROGRAMS = ("manual", "normal", "aperture priority", "shutter priority", "creative", "action", "portrait", "landscape")
METERING = ("average", "center weighted", "spot", "multi spot", "multi segment", "partial")
