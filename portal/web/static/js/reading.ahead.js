// The pictures that come next, fetched before their turn: addresses and pixels, nothing else is known of them yet.
import { ask } from "./reading.line.js";

export function makeAhead({ address, form }) {
  const fetched = new Map();

  function picture(source) {
    const image = new Image();
    image.src = source;
    return image;
  }
  return {
    async fetch() {
      if (!address) return;
      const { status, said } = await ask(address, new FormData(), form);
      if (status !== 200) return;
      for (const known of [...fetched.keys()]) if (!said.ahead.includes(known)) fetched.delete(known);
      for (const source of said.ahead) {
        if (!fetched.has(source)) fetched.set(source, picture(source));
        await fetched.get(source).decode().catch(() => fetched.delete(source));
      }
    },
    take(source) {
      const image = fetched.get(source) || picture(source);
      fetched.delete(source);
      return image;
    },
  };
}
