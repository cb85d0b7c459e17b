#!/usr/bin/env python3
"""Writes core/src/text/unicode_data.inc to stdout.

Rust tokenizers 0.21 looks at Unicode through several libraries, each with its own version of the tables: regular
expressions and the standard library have 16.0, the punctuation and control classes of BERT have 8.0, normalization,
marks and scripts have 9.0. Needs `pip install unicodedata2==16.0.0` and a perl with Unicode 14 or later (ages, scripts).
"""
import subprocess

import unicodedata2 as ucd

assert ucd.unidata_version == "16.0.0"
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn").split()
ASCII_PUNCTUATION = {c for c in range(128) if chr(c) in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}
WHITE_SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
CIRCLED_LETTERS = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)}
# Categories and scripts that changed after the old tables were made.
WAS_PUNCTUATION, WAS_MARK, WAS_NONSPACING = {0x166D, 0x111C9}, {0x1CF2, 0x1CF3}, {0x1734, 0x1171E}
WAS_NO_MARK, WAS_SPACING = {0x111C9}, {0x1885, 0x1886, 0xA9BD, 0x111C9}
OLD_SCRIPTS = {0x589: "Common", 0x61C: "Common", 0x953: "Devanagari", 0x954: "Devanagari", 0x30FC: "Han"}


def perl(expression):
    script = "for my $c (0..0x10ffff) { next if $c >= 0xd800 && $c < 0xe000; print %s, qq(\\n) }" % expression
    out = subprocess.run(["perl", "-MUnicode::UCD=charscript", "-e", script], capture_output=True, text=True, check=True)
    return dict(zip(ALL, out.stdout.split("\n")))


def pages(values, name, kind):
    """A two-stage table: kNameIndex[cp >> 7] is a page, kNamePages[page * 128 + (cp & 127)] the value."""
    index, seen, flat = [], {}, []
    for start in range(0, 0x110000, 128):
        page = tuple(values.get(c, 0) for c in range(start, start + 128))
        if page not in seen:
            seen[page] = len(seen)
            flat += page
        index.append(seen[page])
    array("uint16_t", name + "Index", index)
    array(kind, name + "Pages", flat)


def array(kind, name, numbers):
    print(f"inline constexpr {kind} {name}[] = {{")
    line = ""
    for number in map(str, numbers):
        if len(line) + len(number) > 117:
            print(line)
            line = ""
        line += number + ","
    print(line + "};")


v8 = {c for c, x in perl("chr($c) =~ /\\p{In=8.0}/ ? 1 : 0").items() if x == "1"}
v9 = {c for c, x in perl("chr($c) =~ /\\p{In=9.0}/ ? 1 : 0").items() if x == "1"}
scripts = {**perl('charscript($c) // "Unknown"'), **OLD_SCRIPTS}
category = {c: ucd.category(chr(c)) for c in ALL}


def normal(form, c):
    return ucd.normalize(form, chr(c)) if c in v9 else chr(c)


pairs = {}
for c in ALL:
    full = normal("NFD", c)
    if len(full) > 1 and normal("NFC", c) == chr(c) and not 0xAC00 <= c < 0xD7A4:
        pairs[(ord(ucd.normalize("NFC", full[:-1])), ord(full[-1]))] = c
second = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
lower = {c: ord(chr_lower) for c in ALL for chr_lower in [chr(c).lower()] if len(chr_lower) == 1 and ord(chr_lower) != c}
# Python's own tables stop at 14.0.
for first, last, delta in [(0x10D50, 0x10D65, 32)]:
    lower.update({c: c + delta for c in range(first, last + 1)})
lower.update({0x1C89: 0x1C8A, 0xA7CB: 0x0264, 0xA7CC: 0xA7CD, 0xA7DA: 0xA7DB, 0xA7DC: 0x019B})

FLAGS = {
    "kWhiteSpace": lambda c: c in WHITE_SPACE,
    "kWord": lambda c: category[c][0] in "LM" or category[c] in ("Nd", "Nl", "Pc") or c in CIRCLED_LETTERS,
    "kPunctuation8": lambda c: c in ASCII_PUNCTUATION or (category[c][0] == "P" and c in v8) or c in WAS_PUNCTUATION,
    "kNonspacing8": lambda c: (category[c] == "Mn" and c in v8 and c not in WAS_SPACING) or c in WAS_NONSPACING,
    "kOther8": lambda c: category[c] in ("Cc", "Cf", "Co") and c in v8,
    "kMark9": lambda c: (category[c][0] == "M" and c in v9 and c not in WAS_NO_MARK) or c in WAS_MARK,
    "kNfdChanges": lambda c: normal("NFD", c) != chr(c),
    "kNfkdChanges": lambda c: normal("NFKD", c) != chr(c),
    "kCombining": lambda c: c in v9 and ucd.combining(chr(c)) != 0,
    "kNfcChanges": lambda c: normal("NFC", c) != chr(c) or c in second or (c in v9 and ucd.combining(chr(c)) != 0),
    "kNfkcChanges": lambda c: normal("NFKC", c) != chr(c) or c in second or (c in v9 and ucd.combining(chr(c)) != 0),
    "kLowers": lambda c: c in lower or c == 0x130,
}

print("// Written by tools/make_unicode_tables.py; do not edit.")
print("enum Category : uint8_t {", ", ".join("k" + x for x in CATEGORIES), "};")
print("enum Flag : uint32_t {", ", ".join(f"{name} = 1u << {5 + i}" for i, name in enumerate(FLAGS)), "};")
records, value = {}, {}
for c in ALL:
    record = CATEGORIES.index(category[c]) | sum(test(c) << (5 + i) for i, test in enumerate(FLAGS.values()))
    value[c] = records.setdefault(record, len(records))
for c in range(0xD800, 0xE000):
    value[c] = records.setdefault(CATEGORIES.index("Cs"), len(records))
assert len(records) < 256
array("uint32_t", "kRecords", records)
pages(value, "kRecord", "uint8_t")
names = sorted({scripts[c] for c in v9} - {"Unknown", "Common", "Inherited"})
script_of = {}
for c in v9:
    name = {"Hiragana": "Han", "Katakana": "Han"}.get(scripts[c], scripts[c])
    number = {"Unknown": 0, "Common": 1, "Inherited": 2}.get(name)
    script_of[c] = names.index(name) + 3 if number is None else number
script_of[0x20] = 0
pages(script_of, "kScript", "uint8_t")
print("struct CodePointPair { uint32_t first, second, value; };")
print("inline constexpr CodePointPair kCompositions[] = {")
print(",\n".join(f"{{{a},{b},{c}}}" for (a, b), c in sorted(pairs.items())) + "};")
array("uint32_t", "kLowerFrom", sorted(lower))
array("uint32_t", "kLowerTo", [lower[c] for c in sorted(lower)])
