#!/usr/bin/env python3
"""Writes registry/data/known_models.tsv from a mappings.json: every model type of the reference with its classes.

    tools/make_known_models.py mappings.json > registry/data/known_models.tsv

A line a type, in the order of the reference's tables (it decides ties). Columns, empty where there is none:
model type, type that its configuration class writes, configuration class, plugin, tokenizer slow and fast, feature
extractor, image processor slow and fast, video processor, processor, default of the configuration's tokenizer_class,
parts that the configuration cannot do without, and "auto class=class,class;..." of its models.
A line "+", column name, names: classes that exist beside the table.
"""
import json
import sys

# What the reference's configuration classes say in code, not in its tables.
DEFAULT_TOKENIZER_CLASS = {"mt5": "T5Tokenizer", "umt5": "T5Tokenizer"}
PARTS = {
    "encoder-decoder": ["encoder", "decoder"],
    "vision-encoder-decoder": ["encoder", "decoder"],
    "speech-encoder-decoder": ["encoder", "decoder"],
    "nougat": ["encoder", "decoder"],
    "rag": ["question_encoder", "generator"],
    "vision-text-dual-encoder": ["vision_config", "text_config"],
    "musicgen": ["text_encoder", "audio_encoder", "decoder"],
    "musicgen_melody": ["text_encoder", "audio_encoder", "decoder"],
}
# Other spellings under which a type's own files are saved (AC-25).
WRITTEN_AS = {"mlcd": "mlcd_vision_model", "vit_hybrid": "vit-hybrid"}
# Classes that no table lists, but that files may name.
BESIDE = {
    "tokenizer": ["PreTrainedTokenizer", "PreTrainedTokenizerFast", "DPRContextEncoderTokenizer", "DPRContextEncoderTokenizerFast",
                  "DPRReaderTokenizer", "DPRReaderTokenizerFast", "MarkupLMTokenizer", "MarkupLMTokenizerFast",
                  "Pop2PianoTokenizer", "Wav2Vec2Tokenizer", "BlenderbotSmallTokenizerFast", "NougatTokenizerFast"],
    "image_processor": ["Emu3ImageProcessor", "SuperPointImageProcessor", "TextNetImageProcessor", "VideoLlavaImageProcessor",
                        "VitPoseImageProcessor", "VivitImageProcessor"],
    "feature_extractor": ["MarkupLMFeatureExtractor", "MusicgenMelodyFeatureExtractor", "SequenceFeatureExtractor"],
    "processor": ["BrosProcessor", "CsmProcessor", "DonutProcessor", "LayoutXLMProcessor", "MusicgenMelodyProcessor",
                  "MusicgenProcessor", "NougatProcessor", "OmDetTurboProcessor", "Wav2Vec2BertProcessor"],
}


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        mappings = json.load(file)
    types = mappings["model_types"]
    shared = {}  # configuration class -> the last type that has it
    for name, facts in types.items():
        if facts["config_class"]:
            shared[facts["config_class"]] = name
    print(f"# Made by tools/make_known_models.py from the tables of transformers {mappings['reference_version']}; do not edit.")
    for name, facts in types.items():
        absent = set(facts["class_not_in_4_53_3"])
        keep = lambda value: "" if value is None or value in absent else value
        own = shared.get(facts["config_class"], name)
        tokenizer = facts["tokenizer"] or {"slow": None, "fast": None}
        image = facts["image_processor"] or {"slow": None, "fast": None}
        slow, fast = keep(image["slow"]), keep(image["fast"])
        models = ";".join(f"{auto}={','.join(classes)}" for auto, classes in facts["classes"].items())
        print("\t".join([
            name, WRITTEN_AS.get(name, own), facts["config_class"] or "", types[own]["module"].removeprefix("deprecated."),
            keep(tokenizer["slow"]), keep(tokenizer["fast"]), keep(facts["feature_extractor"]), slow, fast,
            keep(facts["video_processor"]), keep(facts["processor"]), DEFAULT_TOKENIZER_CLASS.get(name, ""),
            ",".join(PARTS.get(name, [])), models]))
    for column, names in BESIDE.items():
        print("\t".join(["+", column, ",".join(names)]))


main()
