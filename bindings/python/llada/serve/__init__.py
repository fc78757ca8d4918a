"""A server that speaks OpenAI's protocol: ``python -m llada.serve MODEL`` (the extra `serve`).

`llada.serve.app.application` makes it of an opened model, for an ASGI server of your own.
"""
