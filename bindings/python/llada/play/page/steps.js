// Steps: one, a half, many; back, and to any state that there was.
import { samePolicy } from "./policy.js";

const pause = time => new Promise(done => setTimeout(done, time));

export class Steps {
  constructor(app) {
    this.app = app;
    this.playing = false;
    this.running = false;
    this.turn = 0;
    this.last = Promise.resolve();
  }

  // What was changed of policies takes effect.
  async usePolicies(lanes) {
    for (const lane of lanes) {
      const policy = this.app.changed[lane];
      if (!policy) continue;
      this.app.changed[lane] = null;
      const action = ["fork", policy];
      if (!samePolicy(policy, this.app.lanes[lane].policy)) await this.app.send("do", { lanes: [lane], action });
    }
    this.app.draw();
  }

  able(lanes) {
    return lanes.filter(lane => this.app.lanes[lane] && this.app.lanes[lane].phase !== "finished");
  }

  step(lanes = this.app.moving()) {
    return this.inTurn(lanes, going => this.app.send("do", { lanes: going, action: ["step"] }));
  }

  half(lanes = this.app.moving()) {
    return this.inTurn(lanes, going => this.app.send("half", { lanes: going }));
  }

  // Which lanes can still move shows when the steps before are done.
  inTurn(lanes, move) {
    const done = this.last.then(async () => {
      const going = this.able(lanes);
      if (!going.length) return null;
      await this.usePolicies(going);
      return move(going);
    });
    this.last = done.catch(() => {});
    return done;
  }

  async play(on) {
    if (on === this.playing) return;
    this.halt();
    this.playing = on;
    this.app.draw();
    if (!on) return;
    const turn = this.turn; // one that waited while playing began anew has ended
    const left = () => (this.playing && turn === this.turn ? this.able(this.app.moving()) : []);
    while (left().length) {
      const time = Number(this.app.speed.value), halves = this.app.thinking.checked;
      if (halves) {
        const undecided = () => left().filter(lane => this.app.lanes[lane].phase !== "proposed");
        while (undecided().length) if (!(await this.half(undecided()))) break;
        await pause(time / 2);
      }
      if (left().length) await this.step(left());
      await pause(halves ? time / 2 : time);
    }
    if (turn !== this.turn) return;
    this.playing = false;
    this.app.draw();
  }

  // Steps until each lane is past the block it is in, or at its end.
  async run(whole) {
    this.halt();
    this.running = true;
    const ends = this.app.lanes.map(state => state.active[1]);
    const before = lane => whole || this.app.lanes[lane].active[1] <= ends[lane];
    const turn = this.turn;
    const left = () => (this.running && turn === this.turn ? this.able(this.app.moving()).filter(before) : []);
    while (left().length) if (!(await this.step(left()))) break;
    if (turn !== this.turn) return;
    this.running = false;
    this.app.draw();
  }

  back() {
    const { nodes } = this.app.branches;
    this.app.changed = [null, null];
    const parents = this.app.moving().map(lane => [lane, nodes.get(this.app.lanes[lane]?.node)?.parent]);
    const able = parents.filter(([, parent]) => nodes.has(parent));
    return Promise.all(able.map(([lane, node]) => this.app.send("go", { lane, node })));
  }

  go(node, lane = this.app.lane) {
    this.halt();
    this.app.changed[lane] = null;
    if (node !== null && node !== undefined && this.app.lanes.length) this.app.send("go", { lane, node });
  }

  first(lane) {
    let node = this.app.branches.nodes.get(this.app.lanes[lane]?.node);
    while (node && this.app.branches.nodes.has(node.parent)) node = this.app.branches.nodes.get(node.parent);
    return node?.number;
  }

  // Ends what goes on by itself.
  halt() {
    this.playing = false;
    this.running = false;
    this.turn += 1;
  }

  // So does this, and a forward that takes long.
  stop() {
    const going = this.playing || this.running || this.app.waiting > 0;
    this.halt();
    if (this.app.waiting) this.app.call("cancel", {});
    return going;
  }
}
