// What is done by the names that keys and buttons have.
import { help } from "./keys.js";

export function commands(app) {
  const { steps, edits } = app;
  const node = () => app.lanes[app.lane]?.node;
  // A key that is held down waits for what it has asked.
  const still = what => event => {
    if (event?.repeat && app.waiting) return null;
    steps.play(false);
    return what();
  };
  const whole = all => () => (steps.running ? steps.stop() : steps.run(all));
  // At the position that is chosen.
  const there = what => event => (app.selected !== null && app.lanes.length ? what(app.selected, event) : null);
  return {
    play: () => steps.play(!steps.playing),
    step: still(() => steps.step()),
    half: still(() => steps.half()),
    back: still(() => steps.back()),
    again: () => steps.go(app.branches.after(node())),
    block: whole(false),
    end: whole(true),
    begin: () => app.moving().forEach(lane => steps.go(steps.first(lane), lane)),
    before: () => steps.go(app.branches.beside(node(), -1)),
    next: () => steps.go(app.branches.beside(node(), 1)),
    compare: () => app.compare(),
    other: () => app.choose(1 - app.lane),
    move: event => app.move(event.key),
    write: there(() => app.position.field.focus()),
    candidate: there((place, event) => {
      const cell = app.position.cell;
      const found = cell?.position === place ? cell.candidates[Number(event.key) - 1] : null;
      return found && edits.write(place, [found[0]]);
    }),
    mask: there(place => edits.mask(place)),
    lock: there(place => edits.lock(place)),
    insert: there(place => edits.insert(place, "")),
    remove: there(place => edits.plan(place, ["delete"])),
    drop: there(place => edits.plan(place, [])),
    apply: () => steps.usePolicies([app.lane]),
    prompt: () => app.prompt.select(),
    code: () => app.code(),
    save: () => app.save("trace"),
    escape: () => steps.stop() || app.select(null),
    help: () => app.show("Keys", help()),
  };
}
