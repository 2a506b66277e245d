"""What the local engine is measured against: a peer of the same job, by ourselves.

RVC v2 at 48 kHz, the most used program of its kind, in the sizes of its published
configuration, with random weights: it makes noise of the right length in the time the
real one takes. Figures come from the repository of RVC-Project,
Retrieval-based-Voice-Conversion-WebUI (`configs/v2/48k.json`, `infer/lib/`), and from
the papers each module names; no line of its code is here. Nothing of the product
imports it.

Where the original does more than its job needs, the peer does less, so that it is
never slower than what it stands for: no second of padding either side of a song, no
blending with an index of takes, no filtering of the input, no weight normalisation
left in the way of singing.
"""
