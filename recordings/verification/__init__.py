"""Is this take good sound, and (issue 3) a live microphone and this person? No Django.

Each layer is one module of functions that measure; what is made of the figures is
decided in recordings/judging.py.
"""
