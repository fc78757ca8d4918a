"""The playground: a page, or a widget of a notebook, on which one steps a model. ``python -m llada.play MODEL``"""
