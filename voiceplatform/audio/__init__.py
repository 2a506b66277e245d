"""Sound as the whole platform knows it: decode, encode, resample, measure. No Django.

Submodules are imported by name so that opening a file does not load torch.
"""
