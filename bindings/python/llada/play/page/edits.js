// What one does at a position: on the canvas at once, or in the proposal, in the midst of a step.
export class Edits {
  constructor(app) {
    this.app = app;
  }

  // An action of the lane at hand.
  act(action) {
    this.app.steps.halt();
    return this.app.lanes.length ? this.app.send("do", { lanes: [this.app.lane], action }) : null;
  }

  // Whether edits of a position go into the proposal: in the midst of a step, where it runs.
  proposes(place) {
    const state = this.app.lanes[this.app.lane];
    const runs = place >= state.rows[0] && place < state.rows[1] && ["forwarded", "proposed"].includes(state.phase);
    return runs && state.states[place] !== "0" && !state.locked.includes(place);
  }

  // Text, or tokens; several go to the positions that follow.
  async write(place, what) {
    const tokens = Array.isArray(what) ? what : await this.tokens(what);
    for (const [index, token] of tokens.entries()) {
      if (this.proposes(place + index)) await this.plan(place + index, ["write", token]);
      else await this.act(["set_token", place + index, token]);
    }
  }

  async tokens(text) {
    const told = await this.app.send("tokens", { lane: this.app.lane, text });
    return told?.tokens.map(([token]) => token) ?? [];
  }

  mask(place) {
    const { mask } = this.app.model(this.app.lane);
    return this.proposes(place) ? this.plan(place, ["write", mask]) : this.act(["mask", place]);
  }

  lock(place) {
    return this.act(["lock", place, !this.app.lanes[this.app.lane].locked.includes(place)]);
  }

  async insert(place, text) {
    const tokens = text ? await this.tokens(text) : [this.app.model(this.app.lane).mask];
    for (const token of tokens) await this.plan(place, ["insert", token]);
  }

  // Changes what is proposed at a position: written, inserted, deleted, or nothing. That takes a forward.
  async plan(place, [kind, token]) {
    const { app } = this, lane = app.lane;
    app.steps.halt();
    if (app.lanes[lane].phase === "ready" && !(await app.steps.half([lane]))) return null;
    const edits = (app.lanes[lane].proposal ?? app.lanes[lane].would ?? []).map(edit => edit.slice(0, 4));
    // What can be there beside the new one.
    const beside = { insert: ["write", "insert"], write: ["insert"], delete: [] }[kind] ?? [];
    const kept = edits.filter(edit => edit[0] !== place || beside.includes(edit[3]));
    if (kind) kept.push([place, kind === "delete" ? -1 : token, 0, kind]);
    return app.send("do", { lanes: [lane], action: ["set_proposal", kept] });
  }
}
