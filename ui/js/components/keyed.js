// A list that is brought up to date in place: what says the same stays as it is, with its focus and what is open in it.

const kept = new WeakMap(); // of a parent: by key, what was drawn of which content

/**
 * items: [{ key, of, make() }] in order: `of` is the content; `make` draws it anew when that differs from the last one.
 * The focus goes from what is drawn anew to the control in the same place of it.
 */
export function keyed(parent, items) {
  const before = kept.get(parent) ?? new Map();
  const now = new Map();
  const focused = document.activeElement;
  let lost = null;
  for (const { key, of, make } of items) {
    const content = JSON.stringify(of);
    const old = before.get(key);
    if (old?.content === content) {
      now.set(key, old);
      continue;
    }
    const made = { content, element: make() };
    if (old?.element.contains(focused)) lost = { at: controls(old.element).indexOf(focused), of: made.element };
    now.set(key, made);
  }
  const wanted = [...now.values()].map(({ element }) => element);
  for (const child of [...parent.childNodes]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((element, index) => {
    if (parent.childNodes[index] !== element) parent.insertBefore(element, parent.childNodes[index] ?? null);
  });
  kept.set(parent, now);
  if (lost) controls(lost.of)[lost.at]?.focus({ preventScroll: true });
}

const controls = (element) => [...element.querySelectorAll("a[href], button, input, select, summary")];
