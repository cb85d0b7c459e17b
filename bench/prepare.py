"""Makes what the measurements need, once: SmolLM2 as safetensors for the peers, MiniLM as ONNX, and the sentences.

The weights of SmolLM2 are those of the GGUF that we read, dequantised by transformers' own reader.
"""

import os
import random
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".models")
BENCH = os.path.join(MODELS, "bench")

SUBJECTS = """the engineer|a quiet neighbour|the old lighthouse keeper|our delegation|the younger sister|a travelling musician
the harbour master|the committee|a careful reader|the night train's conductor|the botanist|an unlucky gambler""".replace("\n", "|").split("|")
VERBS = """repaired|described|avoided|photographed|remembered|translated|measured|overlooked|defended|postponed|questioned|rebuilt""".split("|")
OBJECTS = """the wooden bridge over the mill stream|a letter written in faded ink|the results of last winter's survey|an unusually heavy box of tools
the timetable for the mountain line|a collection of early maps|the argument about water rights|seven crates of ripe apricots""".replace("\n", "|").split("|")
TAILS = """before the rain reached the valley and the roads were closed for two days|although nobody in the village had asked for it or offered any help
while the others were still discussing the price of the new roof|because the instructions had been lost somewhere between the two offices
and then walked home along the river without saying a word|which surprised everyone who had followed the story in the papers""".replace("\n", "|").split("|")


def sentences():
    path = os.path.join(BENCH, "sentences.txt")
    if not os.path.exists(path):
        draw = random.Random(7)
        with open(path, "w") as file:
            for _ in range(256):
                line = f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)} {draw.choice(TAILS)}"
                if draw.random() < 0.5:
                    line += f", and {draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)}"
                file.write(line[0].upper() + line[1:] + ".\n")


def smollm():
    target = os.path.join(BENCH, "smollm2")
    if os.path.exists(os.path.join(target, "float32", "config.json")):
        return
    import torch
    from transformers import AutoModelForCausalLM

    folder = os.path.join(MODELS, "SmolLM2-135M-Instruct")
    gguf = [name for name in os.listdir(folder) if name.endswith(".gguf")]
    source = {"gguf_file": gguf[0]} if gguf else {}
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, **source)
    model.to(torch.bfloat16).save_pretrained(os.path.join(target, "bfloat16"))
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, **source)
    model.save_pretrained(os.path.join(target, "float32"))


def minilm():
    target = os.path.join(BENCH, "minilm.onnx")
    if os.path.exists(target):
        return
    import torch
    from transformers import AutoModel

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(os.path.join(MODELS, "all-MiniLM-L6-v2"), attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.ones(2, 16, dtype=torch.int64)
    axes = {name: {0: "batch", 1: "sequence"} for name in names + ["last_hidden_state"]}
    torch.onnx.export(Encoder(), (ids, ids, ids * 0), target + ".plain", input_names=names, output_names=["last_hidden_state"],
                      dynamic_axes=axes, opset_version=17, dynamo=False)
    from onnxruntime.transformers import optimizer

    fused = optimizer.optimize_model(target + ".plain", model_type="bert", num_heads=12, hidden_size=384)
    print("onnx: fused operators", fused.get_fused_operator_statistics(), file=sys.stderr)
    fused.save_model_to_file(target)
    os.remove(target + ".plain")


os.makedirs(BENCH, exist_ok=True)
sentences()
smollm()
minilm()
