"""A server that speaks OpenAI's protocol: ``pip install 'llada[serve]'``, ``python -m llada.serve MODEL``.

`llada.serve.app.application` makes it of an opened model, for an ASGI server of your own.
"""
