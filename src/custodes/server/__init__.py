"""The gateway: the only HTTP of custodes.

`app` builds it; `wire/` translates formats, `gate` and `hearing` decide what leaves, `flow` moves
bytes, `upstreams/` ask models, `routes/` join them.
"""
