"""Running code of a response: shut in, limited, warm, and gone afterwards.

`isolation` builds the bubblewrap command, `host` starts a sandbox and forks children in it, `inside` runs there.
"""
