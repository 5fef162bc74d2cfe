# SPDX-License-Identifier: Apache-2.0
"""CTranslate2 on a folder that its converter wrote in int8 (models.py makes it)."""

from _measure import Engine, main


class CTranslate2(Engine):
    def __init__(self, folder, scheme, threads):
        import ctranslate2
        import json

        self._library = ctranslate2
        self._words = json.loads((folder / "vocabulary.json").read_text())
        self._ids = {word: number for number, word in enumerate(self._words)}
        self._generator = ctranslate2.Generator(str(folder), device="cpu", compute_type="int8_float32", inter_threads=1, intra_threads=threads)

    def generate(self, rows, count):
        self._generator.generate_batch([[self._words[token] for token in row] for row in rows], max_length=count, min_length=count,
                                       sampling_topk=1, include_prompt_in_result=False, end_token=[])

    def log_likelihoods(self, ids):
        return self._generator.score_batch([[self._words[token] for token in ids]])[0].log_probs

    def notes(self):
        return {"ctranslate2": self._library.__version__}


if __name__ == "__main__":
    main(CTranslate2)
