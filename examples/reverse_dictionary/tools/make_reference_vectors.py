#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Writes the embeddings that transformers gives twenty sentences, for tests/examples.
"""Usage: make_reference_vectors.py MODEL_DIRECTORY > tests/examples/data/reference_vectors.tsv

Needs torch==2.13.0 and transformers. One line per sentence: the sentence, a tab, and its mean-pooled
embedding of length 1, computed in float32.
"""

import sys

import torch
import transformers

SENTENCES = [
    "fear of enclosed spaces",
    "A",
    "",
    "a tower by the sea whose light warns ships",
    "being unable to fall asleep at night",
    "the study of birds, their eggs and the places where they nest",
    "(of a surface) so smooth that light is thrown back from it as from a mirror",
    "to walk slowly and without any purpose, looking at shop windows",
    "Crème brûlée, naïve façades & Ångström's déjà-vu",
    "ΑΘΗΝΑ is the capital of Ελλάδα; Москва is that of Россия",
    "東京 is the capital of 日本",
    "1,234.56 metres at 78% humidity -- roughly 3/4 of a mile!",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "She said: \"don't you dare\"; he didn't.",
    "e = m * c^2 [see note] {1} <tag> @home #8 ~ $5 | a\\b",
    "any of numerous small insects that live in large colonies and dig tunnels in the ground",
    "not polite",
    "the quality of a voice or an instrument that lets us tell it from others at the same pitch",
    "bread bread bread bread bread bread bread bread",
    " ".join(["a sentence that is much too long for the model goes on and on,"] * 40),
]


def main():
    directory = sys.argv[1]
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModel.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager").eval()
    for sentence in SENTENCES:
        tokens = tokenizer(sentence, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state[0]
        vector = torch.nn.functional.normalize(states.mean(dim=0), dim=0)
        print(sentence, " ".join(f"{x:.9g}" for x in vector.tolist()), sep="\t")


if __name__ == "__main__":
    main()
