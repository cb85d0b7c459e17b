"""Records what the reference generates under other settings than greedy search.

record_searches.py MODEL_FOLDER FIXTURE.json[.gz] OUT.json.gz: runs transformers on the folder (the fixture's
model) and writes the fixture with a list "searches" of {settings, sequences, scores}; backplane-golden compares them.
"""
import gzip
import json
import sys

import torch
import transformers

LEFT = {"attention_mask", "input_ids"}


def searches(eos, word):
    """Settings by name of GenerationConfig; `eos` and `word` are tokens that the model likes to write."""
    ends = {"max_new_tokens": 9, "eos_token_id": eos, "pad_token_id": 1}
    return [
        {"max_new_tokens": 7, "num_beams": 3},
        {**ends, "num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "num_return_sequences": 3},
        {**ends, "num_beams": 4, "length_penalty": -0.5, "early_stopping": "never", "num_return_sequences": 2},
        {**ends, "num_beams": 3, "min_new_tokens": 4, "no_repeat_ngram_size": 2},
        {**ends, "num_beams": 2, "pad_token_id": 0, "eos_token_id": [eos, word], "min_length": 3},
        {**ends, "repetition_penalty": 1.7, "min_new_tokens": 3, "encoder_repetition_penalty": 1.4},
        {**ends, "no_repeat_ngram_size": 1, "forced_bos_token_id": 5, "forced_eos_token_id": 7},
        {**ends, "encoder_no_repeat_ngram_size": 1, "suppress_tokens": [word, 3], "begin_suppress_tokens": [4, eos]},
        {**ends, "bad_words_ids": [[word], [eos, 6], [word, eos]], "renormalize_logits": True,
         "remove_invalid_values": True},
        {**ends, "exponential_decay_length_penalty": [2, 1.6], "sequence_bias": [[[word], -3.5], [[word, word], 2.0]]},
    ]


def pack(tensor):
    values = tensor.flatten().tolist()
    dtype = "I64" if tensor.dtype == torch.int64 else "F32"
    return {"dtype": dtype, "shape": list(tensor.shape), "values": values}


def main(folder, source, target):
    read = gzip.open if source.endswith(".gz") else open
    with read(source, "rt") as file:
        fixture = json.load(file)
    model = getattr(transformers, fixture["class_name"]).from_pretrained(
        folder, attn_implementation=fixture["attn_implementation"]).eval()
    inputs = {}
    for name in fixture["generate"]["inputs"]:
        recipe = fixture["inputs"][name]
        if "values" in recipe:
            inputs[name] = torch.tensor(recipe["values"]).view(recipe["shape"])
    if not model.config.is_encoder_decoder and "attention_mask" in inputs:  # padding on the left
        lengths = inputs["attention_mask"].sum(1).tolist()
        for name in LEFT & set(inputs):
            rows = [torch.cat([row[n:], row[:n]]) for row, n in zip(inputs[name], lengths)]
            inputs[name] = torch.stack(rows)
    made = fixture["generate"]["new_tokens"]["values"]
    word, eos = made[0], next((token for token in made if token != made[0]), made[-1])
    fixture["searches"] = []
    for settings in searches(eos, word):
        config = model.generation_config.__class__.from_dict(model.generation_config.to_dict())
        config.eos_token_id = config.forced_eos_token_id = config.forced_bos_token_id = None
        config.update(do_sample=False, return_dict_in_generate=True, output_scores=True, **settings)
        with torch.no_grad():
            result = model.generate(**inputs, generation_config=config, use_model_defaults=False)
        search = {"settings": settings, "inputs": {name: pack(value) for name, value in inputs.items()},
                  "sequences": pack(result.sequences)}
        if settings.get("num_beams", 1) > 1:
            search["scores"] = pack(result.sequences_scores)
        fixture["searches"].append(search)
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as file:
        file.write(json.dumps(fixture).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
