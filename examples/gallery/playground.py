"""playground.py folder   A picture of the playground, of a step that is about to be applied, into the folder."""

import subprocess
import sys
import threading
from pathlib import Path

import uvicorn

import llada
from llada.play.__main__ import source
from llada.play.server import application
from llada.play.session import Session

QUESTION = (
    "Hana has 3 cards. She buys 3 bags of 2 cards. She loses 5. Hana finds 6 more. "
    "How many cards does Hana have in the end?"
)
PORT, TOKEN = 18765, "picture"

with llada.Model.load("examples/models/tiny-2.1") as model:
    session = Session([source(model)], 1 << 30)
    policy = vars(llada.Policy.speedy())
    session.call("ask", {"prompt": QUESTION, "lanes": [{"policy": dict(policy)}], "options": {"gen_length": 64}})
    for _ in range(2):
        session.call("do", {"lanes": [0], "action": ["step"]})
    there = session.lanes[0].number
    for action in (["set_token", 66, 21], ["step"], ["step"]):  # a branch
        session.call("do", {"lanes": [0], "action": action})
    session.call("go", {"lane": 0, "node": there})
    session.call("do", {"lanes": [0], "action": ["step"]})
    session.call("half", {"lanes": [0]})
    app = application(session, TOKEN, frozenset({f"127.0.0.1:{PORT}"}))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=PORT, log_level="error"))
    serving = threading.Thread(target=server.run)
    serving.start()
    picture = Path(sys.argv[1]).resolve() / "playground.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1240,800"]
    flags += ["--virtual-time-budget=4000", f"--screenshot={picture}"]
    subprocess.run(["chromium", *flags, f"http://127.0.0.1:{PORT}/{TOKEN}/#84"], check=True, stderr=subprocess.DEVNULL)
    server.should_exit = True
    serving.join()
