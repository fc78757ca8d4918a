// In a notebook: calls go to the kernel, as messages with a number each.
export default {
  render({ model, el: root }) {
    const waiting = new Map();
    let count = 0;
    const onmessage = ({ number, told, error }) => {
      const { done, failed } = waiting.get(number) ?? {};
      waiting.delete(number);
      if (error !== undefined) failed?.(new Error(error));
      else done?.(told);
    };
    const call = (name, args) =>
      new Promise((done, failed) => {
        const number = ++count;
        waiting.set(number, { done, failed });
        model.send({ number, call: name, arguments: args });
      });
    model.on("msg:custom", onmessage);
    mount(root, call, root);
    return () => model.off("msg:custom", onmessage);
  },
};
