"""The HTTP server over memchunk, and its command line; `create_app` is in `app`.

Thin: what a file is, and what can happen to it, is the library's business.
"""
