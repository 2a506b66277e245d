"""What an effect chain is made of and how it sounds. No Django.

`catalogue` is plain data and is read by the web process; `rendering` and `limiting`
do the sound and are imported by workers only.
"""
