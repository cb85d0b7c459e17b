#!/usr/bin/env python3
"""Writes core/src/vision/image_processor_classes.inc: every image processor class of the reference with its defaults.

    tools/make_image_processor_classes.py CLASS… > core/src/vision/image_processor_classes.inc

Needs transformers, torch and torchvision. A row a class: name, what a whole number given as `size` and as `crop_size`
becomes, and to_dict() of an object built without arguments.
"""
import json
import sys

import transformers

# Arguments without which a class cannot be built, and what its default is then.
GIVEN = {"LayoutLM": ({"apply_ocr": False}, {"apply_ocr": True}), "ImageGPT": ({"clusters": [[0, 0, 0]]}, {"clusters": None})}
EDGE = 37


def rule(size) -> str:
    keys = sorted(size) if isinstance(size, dict) else []
    if keys == ["height", "width"] and size["height"] == EDGE:
        return "square"
    if keys == ["shortest_edge"]:
        return "shortest"
    if keys == ["longest_edge", "shortest_edge"] and size["longest_edge"] == 1333:
        return "shortest_1333"
    return "longest" if keys == ["longest_edge"] else "kept"


def plain(value):
    return value.tolist() if hasattr(value, "tolist") else getattr(value, "value", str(value))


def main() -> None:
    print("// Written by tools/make_image_processor_classes.py from the reference; do not edit.")
    for name in sorted(sys.argv[1:]):
        cls = getattr(transformers, name)
        arguments, defaults = next((v for k, v in GIVEN.items() if name.startswith(k)), ({}, {}))
        settings = {k: v for k, v in cls(**arguments).to_dict().items() if k != "image_processor_type"}
        rules = []
        for key in ("size", "crop_size"):
            try:
                rules.append(rule(getattr(cls(**arguments, **{key: EDGE}), key, None)))
            except Exception:
                rules.append("kept")
        text = json.dumps({**settings, **defaults}, default=plain)
        print(f'    {{"{name}", SizeRule::{rules[0]}, SizeRule::{rules[1]}, R"({text})"}},')


if __name__ == "__main__":
    main()
